"""When Python's garbage collector runs. It finds what reference counts do not: objects that refer to each other in a circle.

Requests of the API leave none (`tests/completions/test_garbage.py`), each page of Django some hundreds, with its forms, querysets
and templates. Left to add up until the collector's own time they were 5 MB after a minute of mixed traffic, and memory that comes
and goes in such heaps never lies close again: it grew for as long as anybody looked (`tests/benchmarks/soak.py`, 2026-11).
"""

from __future__ import annotations

import gc
import itertools

ALLOCATIONS = 20_000
"""New containers between two collections of the collector's own: a few hundred requests' worth."""
GENERATIONS = 5
"""How many collections of a generation one of the next takes."""
PAGES = 50
"""How many pages of Django one collection of everything takes."""

_pages = itertools.count(1)


def spare() -> None:
    """Keep the collector from walking through what was loaded at start-up again and again.

    Hundreds of thousands of objects of modules, models and schemas live as long as the process. Frozen, they are left out of every
    full collection, and what requests leave behind is little: 320 instead of 460 us CPU for the cheapest request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, GENERATIONS, GENERATIONS)


def page_served() -> None:
    """Collect what a page of Django has left, while it is little: what is young, and now and then everything."""
    gc.collect(2 if next(_pages) % PAGES == 0 else 1)
