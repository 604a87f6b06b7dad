"""How much memory the threads of this process keep for themselves. Standard library only."""

from __future__ import annotations

import ctypes
import os

M_ARENA_MAX = -8
"""Of glibc's <malloc.h>: the most heaps that threads may have; where it is not set, eight for each core."""
MOST = 2


def share() -> None:
    """Let threads share heaps. MALLOC_ARENA_MAX, where it is set, has said already how many.

    Each page of admin is made in a thread of its own, and glibc gives new threads new heaps, whose holes nobody else fills: memory
    that nothing uses grew by 10 MB in five minutes of mixed traffic (`tests/benchmarks/soak.py`, 2026-11), with two heaps by 2 MB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # another libc has no such heaps, and no such function
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(M_ARENA_MAX, MOST)
