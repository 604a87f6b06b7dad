"""Threads that come and go share heaps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from gateway_project import heaps
from tests.live import ROOT

HEAPS_OF_SIXTEEN_THREADS = """
import re, sys, threading
from gateway_project import heaps
if sys.argv[1] == "shared":
    heaps.share()
barrier = threading.Barrier(17)
def work():
    kept = [bytes(2000) for _ in range(100)]  # small enough for a heap, too large for Python's own allocator
    barrier.wait()
    barrier.wait()
    kept.clear()
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads:
    thread.start()
barrier.wait()
maps = open("/proc/self/maps").read()
barrier.wait()
starts = [int(start, 16) for start in re.findall(r"^([0-9a-f]+)-[0-9a-f]+ rw-p 00000000 00:00 0", maps, re.M)]
print(sum(start % (64 << 20) == 0 for start in starts))
"""


def heaps_of_threads(how: str, **environment: str) -> int:
    """How many heaps sixteen threads at once have, beside the main one. glibc's begin at multiples of 64 MB."""
    command = [sys.executable, "-c", HEAPS_OF_SIXTEEN_THREADS, how]
    env = {"PATH": os.environ["PATH"], **environment}
    return int(subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps of threads")
def test_threads_share_heaps_unless_an_operator_has_said_how_many():
    assert heaps_of_threads("shared") <= heaps.MOST
    assert heaps_of_threads("shared", MALLOC_ARENA_MAX="6") > heaps.MOST
    assert heaps_of_threads("as they come") > heaps.MOST
