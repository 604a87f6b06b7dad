"""Deadlines, departures and slow readers: nothing is waited for too long, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from completions import underway
from completions.transport.answer import MAX_BUFFERED_BYTES, Answer
from completions.transport.pool import Pool
from completions.underway import Underway
from gateway_project.errors import ConnectionBroken, ProviderTimeout, ProviderUnavailable
from tests.completions.transport.peers import (
    CHUNKED,
    HELLO,
    OK,
    Peer,
    Play,
    eventually,
    nothing_is_left,
    open_sockets,
    pooled,
    post,
    serving,
    text,
)


def saying(*pieces: bytes) -> Play:
    """Say the pieces after the first request, one by one, then nothing until the gateway leaves."""

    async def play(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.say(piece)
            await asyncio.sleep(0)
        await peer.gone()

    return play


@contextlib.contextmanager
def deaf():
    """A port whose queue of connections is full: nobody ever accepts one."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_connection_that_is_not_accepted_is_given_up():
    with deaf() as url:
        async with pooled() as pool:
            with pytest.raises(ProviderTimeout, match="did not accept the connection in time"):
                await post(pool, url, connect_s=0.1)
            with pytest.raises(ProviderTimeout, match=r"nothing within 0.1 s"):
                await post(pool, url, within_s=0.1)


async def test_a_head_that_does_not_end_in_time_is_given_up():
    async with serving(saying(OK)) as provider, pooled() as pool:
        with pytest.raises(ProviderTimeout, match=r"nothing within 0.1 s"):
            await post(pool, provider.url(), within_s=0.1)
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)


async def test_a_silent_body_is_given_up_and_stays_given_up():
    async with serving(saying(CHUNKED, b"2\r\nhe\r\n")) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        assert await answer.read(3) == b"he"
        for _ in range(2):
            with pytest.raises(ProviderTimeout, match=r"no further data for 0.1 s"):
                await answer.read(0.1)
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)


async def test_a_body_that_drips_is_given_up_when_its_whole_time_is_over():
    async def drip(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        while True:
            await peer.say(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)

    async with serving(drip) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        with pytest.raises(ProviderTimeout, match=r"no whole answer within 0.2 s"):
            await answer.read_all(0.2)


async def test_interim_responses_do_not_move_the_deadline():
    async def play(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await asyncio.sleep(0.01)

    async with serving(play) as provider, pooled() as pool:
        with pytest.raises(ProviderTimeout, match=r"nothing within 0.2 s"):
            await post(pool, provider.url(), within_s=0.2)


# --- departures -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def waiting_for_connection(pool: Pool) -> AsyncIterator[tuple[Awaitable[object], Peer | None]]:
    with deaf() as url:
        yield post(pool, url), None


@contextlib.asynccontextmanager
async def waiting_for_head(pool: Pool) -> AsyncIterator[tuple[Awaitable[object], Peer | None]]:
    async with serving(saying(OK)) as provider:
        calling = asyncio.ensure_future(post(pool, provider.url()))
        yield calling, await provider.peer()


def waiting_for_body(read: Callable[[Answer], Awaitable[bytes]]):
    @contextlib.asynccontextmanager
    async def waiting(pool: Pool) -> AsyncIterator[tuple[Awaitable[object], Peer | None]]:
        async with serving(saying(CHUNKED)) as provider:
            yield read(await post(pool, provider.url())), provider.peers[0]

    return waiting


@pytest.mark.parametrize(
    "waiting",
    [
        waiting_for_connection,
        waiting_for_head,
        waiting_for_body(lambda answer: answer.read(3)),
        waiting_for_body(lambda answer: answer.read_all(3)),
    ],
    ids=["connection", "head", "read", "read_all"],
)
async def test_whoever_leaves_while_waiting_leaves_nothing_behind(waiting):
    sockets = open_sockets()
    async with pooled() as pool, waiting(pool) as (work, peer):
        calling = asyncio.ensure_future(work)
        await asyncio.sleep(0.02)
        assert not calling.done()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        if peer is not None:
            await asyncio.wait_for(peer.left.wait(), 5)
        await eventually(lambda: not pool._open, "a connection was kept")
    await nothing_is_left(sockets)


async def test_a_caller_that_leaves_in_any_moment_of_a_call_leaves_nothing_behind():
    """Cancelled after 0, 1, 2 … turns of the loop, until the call is over by itself."""
    sockets = open_sockets()

    async def call(pool: Pool, url: str) -> None:
        assert await text(await post(pool, url)) == b"hello"

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            for at in range(0, len(HELLO), 20):
                await peer.say(HELLO[at : at + 20])
                await asyncio.sleep(0)

    async with serving(play) as provider, pooled() as pool:
        turns, is_over = 0, False
        while not is_over:
            calling = asyncio.ensure_future(call(pool, provider.url()))
            for _ in range(turns):
                await asyncio.sleep(0)
            is_over = calling.done()
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling
            idle = [connection for kept in pool._idle.values() for connection in kept]
            await eventually(partial(is_all_open, pool, len(idle)), "a connection is neither idle nor closed")
            turns += 1
        await call(pool, provider.url())
    assert turns > 5
    await nothing_is_left(sockets)


async def test_a_caller_that_leaves_once_its_answer_is_there_takes_no_connection_from_the_next():
    async with serving(saying_always) as provider, pooled() as pool:
        for _ in range(20):
            first = asyncio.ensure_future(post(pool, provider.url()))
            await eventually(lambda: any(pool._idle.values()), "the answer did not come")
            second = asyncio.ensure_future(post(pool, provider.url()))
            await asyncio.sleep(0)
            first.cancel()
            assert await text(await second) == b"hello"
            with contextlib.suppress(asyncio.CancelledError):
                await first


def is_all_open(pool: Pool, connections: int) -> bool:
    return len(pool._open) == connections


async def saying_always(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.say(HELLO)


# --- much data --------------------------------------------------------------------------------------------------------


async def test_a_provider_is_read_no_faster_than_its_reader_reads():
    pieces, piece = 400, bytes(65536)
    sent = 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.say(CHUNKED)
        for _ in range(pieces):
            await peer.say(b"10000\r\n" + piece + b"\r\n")
            sent += 1
        await peer.say(b"0\r\n\r\n")

    async with serving(flood) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < pieces, "all of it was read though nobody wanted any"
        assert answer._parser.buffered <= MAX_BUFFERED_BYTES + 1024 * 1024
        assert len(await text(answer)) == pieces * len(piece)
        await eventually(lambda: any(pool._idle.values()), "the connection was not given back")


async def test_a_bomb_is_given_up_at_the_readers_limit():
    bomb = gzip.compress(bytes(50_000_000))
    said = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(said)

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        with pytest.raises(ProviderUnavailable, match="more than 1000000 bytes"):
            await answer.read_all(3, 1_000_000)
        answer = await post(pool, provider.url())
        size = 0
        while data := await answer.read(3):
            size += len(data)
        assert size == 50_000_000


async def test_an_encoding_that_nobody_asked_for_is_named_when_the_body_is_read():
    async with serving(saying(OK + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx")) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        assert answer.status == 200
        with pytest.raises(ProviderUnavailable, match="'br', which was not asked for"):
            await answer.read_all(3)


# --- what the caller is told ------------------------------------------------------------------------------------------


async def test_what_came_before_a_break_is_read_before_it_is_told():
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n")

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        await eventually(lambda: not pool._open, "the end was not seen")
        assert await answer.read(3) == b"hello"
        with pytest.raises(ConnectionBroken, match="broke the connection off") as caught:
            await answer.read(3)
        assert caught.value.raw == "EOFError"


async def test_an_answer_that_was_closed_has_no_end():
    async with serving(saying(CHUNKED)) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        await answer.aclose()
        await answer.aclose()
        with pytest.raises(ConnectionBroken, match="closed before its end"):
            await answer.read(3)


async def test_only_waiting_counts_as_waiting_for_the_provider():
    async def play(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.2)
        await peer.say(HELLO)
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        token = underway.begin(request := Underway("r"))
        try:
            answer = await post(pool, provider.url())
            time.sleep(0.1)
            assert await answer.read_all(3) == b"hello"
        finally:
            underway.end(token)
        assert request._waiting == 0
        assert request._waited_s > 0.19
        assert request.spent_here_s() >= 0.1
