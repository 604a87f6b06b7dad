"""The guide of `deploy/`, followed on a new machine: `python -m tests.rehearsal`.

A Debian with systemd is made from nothing (`machine`), and the guide's own commands are run there as they stand: from `apt-get
install` to a gateway on port 80 with PostgreSQL and Redis, an upgrade, a dump and its restoration. Then what only systemd can show:
under load the service is reloaded, restarted and killed, and a worker is stopped; every answer that a client got has to be in
`api_logs`. What is rehearsed is the last commit. Needs root, Debian, its archive and PyPI, ports 80, 5432 and 6379; takes several
minutes, and ends with 1 at the first step that fails.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.deploy.kept_clients import Clients
from tests.fakes.catalogue import seed
from tests.fakes.provider import FakeProvider
from tests.live import ROOT, until
from tests.rehearsal.machine import Machine, StepFailed, missing_programs

GUIDE = (ROOT / "deploy" / "README.md").read_text()
SHOWN = {"url": "https://git.example.org/gateway.git", "version": "v1.2.3"}
"""What the guide has in place of somebody's own."""
PASSWORD = "only-for-the-rehearsal-99"
MODELS = {"fake/ok": "ok", "fake/stream": "ok?tokens=10&delay=0.02"}
WORKERS = 2
"""As the guide's environment says."""
STUCK_FOR_S = 60
"""Twice WatchdogSec= of the unit."""
MOST_EXPOSED = 2.0
"""Of 10, as `systemd-analyze security` counts."""
AT_REST_S = 10
"""Twice as long as workers take to find what dead ones have left (`accounting.writer.ADOPT_EVERY_S`)."""
COUNT = "SELECT COUNT(*) FROM api_logs"


def commands_of(section: str) -> str:
    """All that the guide's section of this title has to be typed."""
    text = re.search(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", GUIDE, re.M | re.S)
    assert text, f"the guide has no section {section!r}"
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", text[1], re.M | re.S))


class Rehearsal:
    """The steps, in the order of `STEPS`; each gives a line about what was seen."""

    def __init__(self, machine: Machine, fake: FakeProvider) -> None:
        self.machine, self.fake = machine, fake
        self.key = ""
        self.answered: list[str] = []

    def install(self) -> str:
        repository = self.machine.root / "srv" / "gateway.git"
        git("clone", "--bare", str(ROOT), str(repository))
        typed = commands_of("Install on a fresh machine").replace(SHOWN["url"], "/srv/gateway.git")
        # The one command that asks a person something.
        typed = typed.replace("createsuperuser ", "createsuperuser --noinput ")
        said = self.machine.run(typed, DJANGO_SUPERUSER_PASSWORD=PASSWORD, DEBIAN_FRONTEND="noninteractive")
        (self.key,) = re.findall(r"sk-or-v1-[0-9a-f]{64}", said)
        health = said.strip().splitlines()[-1]
        assert '"status":"ok"' in health, health
        return health

    def confine(self) -> str:
        (exposure,) = re.findall(
            r"exposure level for \S+: (\S+) OK", self.machine.run("systemd-analyze security gateway.service")
        )
        assert float(exposure) <= MOST_EXPOSED, exposure
        worker = self.workers()[0]
        assert "gateway" in self.machine.run(f"ps -o user= -p {worker}")
        written = self.machine.run(f"nsenter -t {worker} -m touch /opt/gateway/own-code 2>&1 || true")
        assert "Read-only file system" in written, written
        return f"exposure {exposure}, user gateway, its own code is read-only to it"

    def serve(self) -> str:
        """A catalogue of the fake provider, as an operator would load one of theirs."""
        catalogue = self.machine.root / "etc" / "gateway" / "rehearsal.yaml"
        catalogue.write_text(json.dumps(seed(self.fake, MODELS)))
        self.machine.run("echo FAKE_KEY=of-nobody >> /etc/gateway/gateway.env; systemctl restart gateway")
        loaded = self.machine.run("gateway-manage loadmodels /etc/gateway/rehearsal.yaml").strip().splitlines()[-1]
        return f"{loaded} {self.under_load('sleep 2', may_fail=False)}"

    def reload(self) -> str:
        before = set(self.workers())

        def replaced() -> bool:
            return len(now := set(self.workers())) == WORKERS and not now & before

        return self.under_load("systemctl reload gateway", lambda: until(replaced, "new workers", 60), may_fail=False)

    def restart(self) -> str:
        return self.under_load("systemctl restart gateway", may_fail=False)

    def kill(self) -> str:
        before = self.main_process()

        def is_back() -> bool:
            return self.main_process() != before and len(self.workers()) == WORKERS

        return self.under_load("systemctl kill --signal=KILL gateway", lambda: until(is_back, "it is back", 60))

    def stick(self) -> str:
        worker = self.workers()[0]
        self.machine.run(f"kill -STOP {worker}")
        until(lambda: worker not in self.workers() and len(self.workers()) == WORKERS, "another worker", STUCK_FOR_S)
        return self.under_load("true", may_fail=False)

    def upgrade(self) -> str:
        repository = str(self.machine.root / "srv" / "gateway.git")
        newer = git("-C", repository, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "Rehearse an upgrade")
        branch = git("-C", repository, "symbolic-ref", "HEAD")
        git("-C", repository, "update-ref", branch, newer)
        git("-C", repository, "tag", "rehearsed", newer)
        typed = commands_of("Upgrade and roll back").replace(SHOWN["version"], "rehearsed")
        seen = self.under_load(typed, may_fail=False)
        assert self.machine.run("git -C /opt/gateway describe --tags").strip() == "rehearsed"
        return seen

    def prune(self) -> str:
        self.machine.run("systemctl start gateway-prune.service")
        (said,) = re.findall(r"\d+ request logs were deleted.*", self.machine.run("journalctl -u gateway-prune -o cat"))
        return str(said)

    def restore(self) -> str:
        """The commands of the guide's table, into a second database."""
        (dump,) = re.findall(r"`(pg_dump .*?) > gateway.dump`", GUIDE)
        (restore,) = re.findall(r"`(pg_restore .*?)`", GUIDE)
        restore = restore.replace("--dbname=gateway", "--dbname=again").replace(" gateway.dump", " /tmp/gateway.dump")
        until(self.is_at_rest, "no more rows are written", 60)
        self.machine.run(
            f"runuser -u postgres -- {dump} > /tmp/gateway.dump\n"
            f"runuser -u postgres -- createdb --owner gateway again\n"
            f"runuser -u postgres -- {restore}"
        )
        rows = [self.ask_database(database, COUNT) for database in ("gateway", "again")]
        assert rows[0] == rows[1], rows
        return f"{rows[1][0]} rows in both databases"

    def account(self) -> str:
        query = "SELECT request_id FROM api_logs WHERE status_code = 200"
        wanted = Counter(self.answered)

        def written() -> Counter[str]:
            return Counter(self.ask_database("gateway", query))

        until(lambda: not wanted - written(), "a row for every answer", 20)
        assert max(written().values()) == 1
        return f"{len(self.answered)} answers, a row for each"

    def is_at_rest(self) -> bool:
        """Whether no row was written for a while."""
        before = self.ask_database("gateway", COUNT)
        time.sleep(AT_REST_S)
        return self.ask_database("gateway", COUNT) == before

    def stop(self) -> str:
        self.machine.run("systemctl stop gateway.service gateway.socket")
        result = self.machine.run("systemctl show gateway --property=Result --property=ExecMainStatus").split()
        assert sorted(result) == ["ExecMainStatus=0", "Result=success"], result
        logged = self.machine.run("journalctl --unit=gateway --output=cat")
        assert "Traceback" not in logged, logged
        assert self.key not in logged
        return "exit code 0"

    def workers(self) -> list[int]:
        listed = self.machine.run(f"pgrep -f spawn_main -P {self.main_process()} || true")
        return [int(pid) for pid in listed.split()]

    def main_process(self) -> str:
        return self.machine.run("systemctl show gateway --property=MainPID --value").strip()

    def ask_database(self, name: str, query: str) -> list[str]:
        # From a directory that its user may enter, or psql complains.
        return self.machine.run(
            f'cd /; runuser -u postgres -- psql --no-align --tuples-only {name} --command "{query}"'
        ).split()

    def under_load(self, script: str, then: Callable[[], object] = lambda: None, *, may_fail: bool = True) -> str:
        """Run `script` and `then` while clients ask; none of them may be refused or cut off unless something is killed."""

        def work() -> None:
            self.machine.run(script)
            then()

        async def ask() -> Clients:
            clients = Clients("http://127.0.0.1", {"Authorization": f"Bearer {self.key}"})
            await clients.during(asyncio.ensure_future(asyncio.to_thread(work)))
            return clients

        clients = asyncio.run(ask())
        assert may_fail or not clients.failures, clients.failures
        self.answered += clients.ids
        return f"{len(clients.ids)} answers, {len(clients.failures)} lost"


STEPS = (
    Rehearsal.install, Rehearsal.confine, Rehearsal.serve, Rehearsal.reload, Rehearsal.restart, Rehearsal.upgrade,
    Rehearsal.kill, Rehearsal.stick, Rehearsal.prune, Rehearsal.account, Rehearsal.restore, Rehearsal.stop,
)  # fmt: skip


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    if missing := missing_programs():
        say(f"not here: {', '.join(missing)} (apt-get install debootstrap systemd-container)")
        return 1
    with TemporaryDirectory(prefix="rehearsal-") as directory, FakeProvider() as fake:
        began = time.monotonic()
        with Machine(Path(directory) / "machine") as machine:
            say(f"{'boot':<8} {time.monotonic() - began:5.1f} s  {machine.run('systemctl --version').splitlines()[0]}")
            rehearsal = Rehearsal(machine, fake)
            for step in STEPS:
                began = time.monotonic()
                try:
                    seen = step(rehearsal)
                except (StepFailed, AssertionError) as failure:
                    say(f"{step.__name__:<8} FAILED\n{failure}\n{machine.run('journalctl -u gateway -n 40 -o cat')}")
                    return 1
                say(f"{step.__name__:<8} {time.monotonic() - began:5.1f} s  {seen}")
    say("the guide holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
