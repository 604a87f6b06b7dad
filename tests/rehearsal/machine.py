"""A Debian with systemd as its init, made from nothing and booted on this machine's kernel and network. Needs root.

debootstrap makes it, systemd-nspawn boots it (packages `debootstrap` and `systemd-container`). It listens where this machine does:
ports that the machine needs must be free here, and what listens on loopback here is reached from inside.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.live import until

NEEDED = ("debootstrap", "systemd-nspawn", "nsenter")
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,curl,procps"
"""What every installed Debian has and debootstrap's least one has not."""
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
BOOT_WITHIN_S, END_WITHIN_S, COMMAND_WITHIN_S = 120, 60, 900
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


class StepFailed(AssertionError):
    """A command in the machine ended with another code than 0. The message has all that it wrote."""


class Machine:
    """The machine whose root is `directory`, running while this is entered."""

    def __init__(self, directory: Path) -> None:
        self.root = directory
        self._console = directory.with_suffix(".log")
        self._boot: subprocess.Popen[bytes] | None = None
        self._init_pid = 0

    def __enter__(self) -> Self:
        _debootstrap(self.root)
        command = (
            "systemd-nspawn", "--register=no", "--keep-unit", "--console=read-only", "--boot", "--directory", str(self.root),
        )  # fmt: skip
        with self._console.open("wb") as console:
            self._boot = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        try:
            until(self._has_booted, "the machine has booted", BOOT_WITHIN_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._boot is not None
        self._boot.terminate()  # to systemd-nspawn this is the power button
        try:
            self._boot.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._boot.kill()
            self._boot.wait()

    def run(self, script: str, **environment: str) -> str:
        """Standard output and error of `script`, run by root's bash as typed line after line. Raises `StepFailed`."""
        done = self._enter("bash", "-euo", "pipefail", "-c", f"cd\n{script}", environment=environment)
        if done.returncode:
            raise StepFailed(f"{script}\nended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _enter(self, *command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        inside = [
            "nsenter",
            f"--target={self._init_pid}",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--",
            *command,
        ]
        return subprocess.run(
            inside, env=ENVIRONMENT | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=COMMAND_WITHIN_S, check=False,
        )  # fmt: skip

    def _has_booted(self) -> bool:
        assert self._boot is not None
        if self._boot.poll() is not None:
            raise StepFailed(f"systemd-nspawn ended with {self._boot.returncode}:\n{self._console.read_text()}")
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text().split()
        if not children:
            return False
        self._init_pid = int(children[0])
        return self._enter("systemctl", "is-system-running", environment={}).stdout.strip() == "running"


def missing_programs() -> list[str]:
    return [program for program in NEEDED if not shutil.which(program)]


def _debootstrap(root: Path) -> None:
    """The release that runs here, from the archive it came from, which the new machine trusts and asks as this one does."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    targets = [line.split() for line in listed.splitlines()]
    archive, release = next((archive, name) for archive, name in targets if "-" not in name)  # bookworm, not its -security
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root), archive]
    made = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False)
    if made.returncode:
        raise StepFailed(f"debootstrap ended with {made.returncode}:\n{made.stdout[-3000:]}")
    for name in ("etc/resolv.conf", "etc/hosts", CERTIFICATES):
        (root / name).unlink(missing_ok=True)
        shutil.copy(Path("/") / name, root / name)
    shutil.copytree("/etc/apt/sources.list.d", root / "etc/apt/sources.list.d", dirs_exist_ok=True)
    (root / "etc/apt/sources.list").write_text("")
