"""Whether a server that runs for long stays as it is: `python -m tests.benchmarks.soak [--minutes 30] [--rate 40]`.

`manage.py serve` with a fake provider, in one process, under mixed traffic (`soak_traffic`), scraped every 15 s, its catalogue
edited every 30 s. Its memory and descriptors are read every five seconds. The first third is warm-up, and counts only for answers.
Goals: memory grows by less than 1 MB/h, descriptors stay as many as they are, every answer is right, none is a fault of our own.

The slope is Theil and Sen's: the median of the slopes between all pairs of samples, which single pages of admin do not bend. Of
runs below 15 minutes it is shown, not judged: what fills up at first is not full by then.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from tests.benchmarks.soak_traffic import KINDS, MODELS, Kind, Traffic
from tests.deploy.supervision import Served
from tests.fakes.catalogue import seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway

SAMPLE_EVERY_S, SCRAPE_EVERY_S, EDIT_EVERY_S = 5.0, 15.0, 30.0
SAID_EVERY = 24
"""Samples between two lines about what is going on."""
JUDGED_FROM_MINUTES = 15
MOST_MB_PER_HOUR = 1.0
MOST_MORE_DESCRIPTORS = 5
PASSWORD = "only-for-the-soak-0123"
ENVIRONMENT = {
    "METRICS_TOKEN": "scrape-the-soak-0123456789",
    "FORWARDED_ALLOW_IPS": "127.0.0.1",
    "FAILED_AUTH_LIMIT": "30",
    "ANONYMOUS_RPM_LIMIT": "600",
    "LOG_LEVEL": "WARNING",
    "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process held `at_s` seconds after the start. `anonymous_mb`: what is neither a file's nor shared."""

    at_s: float
    rss_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int


def read_sample(pid: int, at_s: float) -> Sample:
    status = (Path("/proc") / str(pid) / "status").read_text()
    kb = {name: int(value) for name, value in re.findall(r"^(VmRSS|RssAnon|Threads):\s+(\d+)", status, re.M)}
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(at_s, kb["VmRSS"] / 1024, kb["RssAnon"] / 1024, descriptors, kb["Threads"])


def cpu_s(pid: int) -> float:
    """Processor time of the process so far."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def slope_per_hour(samples: Sequence[Sample], what: Callable[[Sample], float]) -> float:
    """The median slope between all pairs of samples, by the hour."""
    pairs = itertools.combinations(samples, 2)
    return statistics.median((what(later) - what(first)) / (later.at_s - first.at_s) for first, later in pairs) * 3600


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def keep_sampling(pid: int, samples: list[Sample], fake: FakeProvider) -> None:
    began = time.monotonic()
    for number in itertools.count(1):
        samples.append(read_sample(pid, time.monotonic() - began))
        fake.calls.clear()
        if number % SAID_EVERY == 0:
            last = samples[-1]
            say(f"{last.at_s / 60:5.1f} min  {last.rss_mb:.1f} MB  {last.descriptors} descriptors")
        await asyncio.sleep(max(0.0, began + number * SAMPLE_EVERY_S - time.monotonic()))


async def keep_scraping(traffic: Traffic) -> None:
    while True:
        try:
            await scrape(traffic)
        except (aiohttp.ClientError, TimeoutError) as error:
            traffic.wrong[f"scrape: {type(error).__name__} {error}"] += 1
        await asyncio.sleep(SCRAPE_EVERY_S)


async def scrape(traffic: Traffic) -> str:
    token = {"Authorization": f"Bearer {ENVIRONMENT['METRICS_TOKEN']}"}
    async with traffic.api.get(f"{traffic.url}/metrics", headers=token) as response:
        return await response.text()


async def keep_editing(gateway: Gateway) -> None:
    """An edit as an operator makes it: each raises the revision, and the server swaps its snapshot."""
    for weight in itertools.cycle((1, 2)):
        await asyncio.sleep(EDIT_EVERY_S)
        edit = "UPDATE routingapp_routingweight SET weight = ? WHERE weight > 0"
        await asyncio.to_thread(gateway.database.change, edit, weight)


async def log_in(url: str, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{url}/admin/login/") as page:
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', await page.text())
    form = {"username": "soak", "password": PASSWORD, "csrfmiddlewaretoken": token}
    async with session.post(f"{url}/admin/login/", data=form, allow_redirects=False) as answer:
        assert answer.status == 302, f"the login was answered {answer.status}"


async def served_kinds(url: str, api: aiohttp.ClientSession) -> list[Kind]:
    """All kinds of requests but those whose page the server's own document does not know."""
    async with api.get(f"{url}/v1/openapi.json") as answer:
        document = await answer.text()
    return [kind for kind in KINDS if not kind.path or f'"{kind.path}"' in document]


async def drive(gateway: Gateway, fake: FakeProvider, minutes: float, rate: float) -> tuple[Traffic, list[Sample], str]:
    """The traffic, the samples, and the last page of metrics."""
    samples: list[Sample] = []
    jar = aiohttp.CookieJar(unsafe=True)
    key = gateway.create_key("soak", "--management")
    timeout = aiohttp.ClientTimeout(60)
    async with (
        aiohttp.ClientSession(timeout=timeout) as api,
        aiohttp.ClientSession(cookie_jar=jar, timeout=timeout) as admin,
    ):
        await log_in(gateway.url, admin)
        traffic = Traffic(gateway.url, key, api, admin, await served_kinds(gateway.url, api))
        watching = [
            asyncio.create_task(work)
            for work in (keep_sampling(gateway.pid, samples, fake), keep_scraping(traffic), keep_editing(gateway))
        ]
        await traffic.run(rate, minutes * 60)
        for task in watching:
            task.cancel()
        for outcome in await asyncio.gather(*watching, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise RuntimeError("the watching of the soak ended before the soak") from outcome
        page = await scrape(traffic)
    return traffic, samples, page


def sum_of(page: str, metric: str) -> float:
    """The sum over all series of a metric whose line begins with `metric`."""
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(metric))


def own_faults(page: str) -> float:
    """Requests that failed here. Those whose every provider rests after faults are of the type `provider_unavailable`."""
    ours = re.findall(r'^gateway_errors_total{domain="gateway",error_type="server",.*} (\S+)$', page, re.M)
    return sum(map(float, ours))


def report(samples: list[Sample], minutes: float) -> Iterator[str]:
    """Says the figures of the last two thirds; gives the goals that were missed."""
    counted = [sample for sample in samples if sample.at_s >= minutes * 60 / 3]
    say(f"over the last {len(counted) * SAMPLE_EVERY_S / 60:.0f} of {minutes:g} minutes:")
    for name, what in (("RSS", lambda one: one.rss_mb), ("anonymous", lambda one: one.anonymous_mb)):
        slope, values = slope_per_hour(counted, what), [what(one) for one in counted]
        say(
            f"{name:<12} {slope:+.2f} MB/h; {what(samples[0]):.1f} MB at the start, {values[0]:.1f} after warm-up,"
            f" {values[-1]:.1f} at the end; from {min(values):.1f} to {max(values):.1f}"
        )
        if minutes >= JUDGED_FROM_MINUTES and slope > MOST_MB_PER_HOUR:
            yield f"{name} grows by {slope:.2f} MB/h"
    quarter = max(1, len(counted) // 4)
    first, last = (min(one.descriptors for one in part) for part in (counted[:quarter], counted[-quarter:]))
    most = max(one.descriptors for one in counted), max(one.threads for one in counted)
    say(f"descriptors  at least {first} in the first quarter, {last} in the last; at most {most[0]}, and {most[1]} threads")
    if last > first + MOST_MORE_DESCRIPTORS:
        yield f"descriptors grew from {first} to {last}"


def judge(traffic: Traffic, gateway: Gateway, page: str) -> Iterator[str]:
    """Says what was asked; gives what was wrong with the answers."""
    asked = ", ".join(f"{count} {name}" for name, count in traffic.asked.most_common())
    counted = sum_of(page, "gateway_requests_total{")
    say(
        f"{traffic.asked.total()} requests ({asked}), {traffic.skipped} not made; the server counts {counted:.0f} of inference"
    )
    yield from (f"{count} x {what}" for what, count in traffic.wrong.most_common(20))
    if faults := own_faults(page):
        yield f"{faults:.0f} requests failed by a fault of the gateway's own"
    if lost := sum_of(page, "gateway_journal_lost_records_total"):
        yield f"{lost:.0f} records were lost"
    if "Traceback" in gateway.log:
        yield f"a traceback is in the log: {gateway.log[-3000:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=40, help="requests a second (default 40)")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory, FakeProvider() as fake:
        gateway = Served(Path(directory), seed(fake, MODELS), ENVIRONMENT)
        with gateway:
            gateway.manage("createsuperuser", "--noinput", "--username", "soak", "--email", "")
            began, used = time.monotonic(), cpu_s(gateway.pid)
            traffic, samples, page = asyncio.run(drive(gateway, fake, arguments.minutes, arguments.rate))
            took, used = time.monotonic() - began, cpu_s(gateway.pid) - used
            say(f"{used / took:.1%} of a core, {used / traffic.asked.total() * 1000:.2f} ms of it per request")
            missed = [*report(samples, arguments.minutes), *judge(traffic, gateway, page)]
            code = gateway.terminate()
    if code:
        missed.append(f"SIGTERM ended the server with {code}")
    say("\n".join(f"MISSED: {goal}" for goal in missed) or "every goal was reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
