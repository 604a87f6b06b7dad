"""Giving up the opening of a stream: whatever it comes to, it ends there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from completions import streams
from gateway_project.errors import ProviderUnavailable


async def given_up(error: BaseException | None, result: Any = None) -> Any:
    """What is left of an opening that answers its cancellation with `error` or `result`."""

    async def open_slowly() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
            return result

    opening = asyncio.ensure_future(open_slowly())
    await asyncio.sleep(0)
    return await streams.give_up(opening)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ProviderUnavailable("Provider cannot be reached")])
async def test_what_was_to_be_expected_is_not_told(error, caplog):
    assert await given_up(error) is None
    assert not caplog.records


async def test_a_bug_of_ours_is_logged_and_hides_no_other_end(caplog):
    assert await given_up(ValueError("a bug")) is None
    assert "a bug" in caplog.text


async def test_a_stream_that_is_open_all_the_same_is_given_to_be_closed():
    stream = object()
    assert await given_up(None, stream) is stream
