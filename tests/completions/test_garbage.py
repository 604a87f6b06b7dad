"""Whatever comes of a request, nothing of it waits for the garbage collector: memory would grow until the next full collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from completions.exchange import Exchange
from routingapp.entries import PolicyEntry
from tests.completions.stage import Stage
from tests.completions.test_recovery import BROKEN, breaks, says
from tests.fakes.clock import VirtualLoop
from tests.fakes.transport import Script

pytestmark = pytest.mark.usefixtures("books")

JSON = (("content-type", "application/json"),)
WHOLE = Script(200, JSON, (b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}',))
REFUSED = Script(400, JSON, (b'{"error": {"message": "no"}}',))
SILENT = Script(200, JSON, (30.0,))


@pytest.fixture
def only_counting() -> Iterator[None]:
    """Objects end with the last reference to them, or not at all."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("only_counting")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("scripts", "leaves_after_s"),
    [
        pytest.param([None], None, id="answered"),
        pytest.param([BROKEN, None], None, id="by the second"),
        pytest.param([BROKEN, BROKEN, BROKEN], None, id="by none"),
        pytest.param([REFUSED], None, id="refused"),
        pytest.param([SILENT, None], None, id="after a silence"),
        pytest.param([SILENT], 0.5, id="left in silence"),
        pytest.param([breaks("Hel"), None], None, id="broken"),
    ],
)
def test_nothing_of_a_request_is_left_to_the_garbage_collector(
    loop: VirtualLoop, scripts: list[Any], leaves_after_s: float | None, stream: bool
) -> None:
    good = says("Hello") if stream else WHOLE
    played = [script or good for script in scripts]
    policy = PolicyEntry(max_attempts=3, deadline_s=30)

    def choose(host: str, body: dict[str, Any], number: int) -> Script:
        return played[int(host[1]) - 1]

    asked = Stage(choose, adapters=len(played), loop=loop, policy=policy)
    for _ in range(3):
        asked.ask(stream=stream, leaves_after_s=leaves_after_s)

    assert sum(isinstance(each, Exchange) for each in gc.get_objects()) == 0
