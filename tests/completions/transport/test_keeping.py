"""Connections that are kept: used again when that is safe, and never otherwise."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading

import pytest

from completions.transport import answer as answers
from completions.transport import pool as pools
from gateway_project.errors import ConnectionBroken, ShuttingDown
from tests.completions.transport.peers import (
    CHUNKED,
    HELLO,
    OK,
    Peer,
    always,
    eventually,
    get,
    pooled,
    post,
    serving,
    text,
)


async def test_a_thousand_calls_after_each_other_share_a_connection():
    async with serving(always) as provider, pooled() as pool:
        for _ in range(1000):
            assert await text(await post(pool, provider.url())) == b"hello"
        assert [peer.requests for peer in provider.peers] == [1000]


async def test_calls_at_once_have_a_connection_and_an_answer_each():
    async def echo(peer: Peer) -> None:
        while True:
            _, _, body = (await peer.request()).partition(b"\r\n\r\n")
            await asyncio.sleep(0.01)
            await peer.say(OK + b"content-length: %d\r\n\r\n%b" % (len(body), body))

    async def call(number: int) -> bytes:
        return await text(await post(pool, provider.url(), body=b"%d" % number))

    async with serving(echo) as provider, pooled() as pool:
        for _ in range(3):
            assert await asyncio.gather(*map(call, range(40))) == [b"%d" % number for number in range(40)]
        assert len(provider.peers) == 40


async def test_the_connection_used_last_is_used_next():
    async with serving(always) as provider, pooled() as pool:
        first, second = await asyncio.gather(post(pool, provider.url()), post(pool, provider.url()))
        await text(first)
        await text(second)
        for _ in range(5):
            await text(await post(pool, provider.url()))
        assert sorted(peer.requests for peer in provider.peers) == [1, 6]


@pytest.mark.parametrize(
    "said",
    [
        OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        OK + b"keep-alive: timeout=1\r\ncontent-length: 5\r\n\r\nhello",
        HELLO + HELLO,
        HELLO + b"rubbish",
    ],
    ids=["close", "HTTP/1.0", "kept too short", "two answers", "rubbish"],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(said):
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        assert await text(await post(pool, provider.url())) == b"hello"
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)
        assert await text(await post(pool, provider.url())) == b"hello"
        assert [peer.requests for peer in provider.peers] == [1, 1]


async def test_a_body_without_length_ends_with_its_connection():
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK + b"\r\nhel")
        await peer.say(b"lo")

    async with serving(play) as provider, pooled() as pool:
        assert await text(await post(pool, provider.url())) == b"hello"


async def test_bytes_that_nobody_asked_for_close_an_idle_connection():
    async def play(peer: Peer) -> None:
        await always_once(peer)
        await peer.say(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        assert await text(await post(pool, provider.url())) == b"hello"
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)
        assert await text(await post(pool, provider.url())) == b"hello"


async def always_once(peer: Peer) -> None:
    await peer.request()
    await peer.say(HELLO)


async def test_a_connection_that_the_provider_has_closed_is_not_used():
    async with serving(always_once) as provider, pooled() as pool:
        for number in range(3):
            assert await text(await post(pool, provider.url())) == b"hello"
            await eventually(lambda: not pool._open, f"the end of connection {number} was not seen")


async def test_a_goodbye_that_a_busy_loop_has_not_read_is_seen_before_the_next_request():
    may_close, has_closed = threading.Event(), threading.Event()

    def serve() -> None:
        first, _ = listening.accept()
        first.recv(65536)
        first.sendall(HELLO)
        may_close.wait(5)
        first.close()
        has_closed.set()
        second, _ = listening.accept()
        with second:
            second.recv(65536)
            second.sendall(HELLO)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        async with pooled() as pool:
            assert await text(await post(pool, url)) == b"hello"
            may_close.set()
            assert has_closed.wait(5)  # Blocks the loop, as much work does.
            assert await text(await post(pool, url)) == b"hello"
        thread.join(5)


async def close_on_the_second(peer: Peer) -> None:
    await always_once(peer)
    await peer.request()


async def test_a_post_that_meets_the_end_of_its_connection_is_not_sent_twice():
    async with serving(close_on_the_second) as provider, pooled() as pool:
        assert await text(await post(pool, provider.url())) == b"hello"
        with pytest.raises(ConnectionBroken, match="broke the connection off"):
            await post(pool, provider.url())
        assert [peer.requests for peer in provider.peers] == [2]


async def test_a_get_that_meets_the_end_of_its_connection_is_sent_again():
    async with serving(close_on_the_second) as provider, pooled() as pool:
        for _ in range(4):
            assert await text(await get(pool, provider.url())) == b"hello"
        assert [peer.requests for peer in provider.peers] == [2, 2, 2, 1]


async def test_a_get_on_a_new_connection_is_tried_once():
    async def play(peer: Peer) -> None:
        await peer.request()

    async with serving(play) as provider, pooled() as pool:
        with pytest.raises(ConnectionBroken):
            await get(pool, provider.url())
        assert len(provider.peers) == 1


async def test_an_answer_that_comes_before_all_of_the_request_was_sent_takes_the_connection_with_it():
    async def play(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\n\r\nlarge")
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url(), body=bytes(50_000_000))
        assert (answer.status, await text(answer)) == (413, b"large")
        assert not pool._idle


async def test_idle_connections_are_closed_after_a_while(monkeypatch):
    monkeypatch.setattr(pools, "SWEEP_S", 0.02)
    monkeypatch.setattr("completions.transport.connection.IDLE_S", 0.05)
    async with serving(always) as provider, pooled() as pool:
        await asyncio.gather(*[text(await post(pool, provider.url())) for _ in range(5)])
        for number in range(len(provider.peers)):
            await asyncio.wait_for(provider.peers[number].left.wait(), 5)
        await eventually(lambda: pool._sweeping is None, "it sweeps on although nothing is left")
        assert not pool._open
        assert not pool._idle
        assert await text(await post(pool, provider.url())) == b"hello"


async def test_an_end_that_comes_a_moment_late_saves_the_connection():
    may_end = asyncio.Event()

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(CHUNKED + b"5\r\nhello\r\n")
            await may_end.wait()
            await peer.say(b"3\r\nbye\r\n0\r\n\r\n")

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        assert await answer.read(3) == b"hello"
        answer.expect_end()
        await answer.aclose()
        may_end.set()
        await eventually(lambda: pool._idle, "the connection was not given back")
        assert await text(await post(pool, provider.url())) == b"hellobye"
        assert len(provider.peers) == 1


async def test_an_end_that_never_comes_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(answers, "END_WITHIN_S", 0.05)

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n")
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        assert await answer.read(3) == b"hello"
        answer.expect_end()
        await answer.aclose()
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)


async def test_what_follows_the_last_of_interest_may_be_unreadable():
    packed = gzip.compress(b"hello")

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED[:-2] + b"content-encoding: gzip\r\n\r\n%x\r\n%b\r\n" % (len(packed), packed))
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        assert await answer.read(3) == b"hello"
        await provider.peers[0].say(b"4\r\njunk\r\n")
        await eventually(lambda: answer._parser.buffered, "the rest has not arrived")
        answer.expect_end()
        await answer.aclose()
        assert not answer._parser.buffered


async def test_closing_the_pool_ends_calls_under_way_and_takes_no_new_ones():
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n")
        await peer.gone()

    async with serving(play) as provider, pooled() as pool:
        answer = await post(pool, provider.url())
        assert await answer.read(3) == b"hello"
        reading = asyncio.ensure_future(answer.read(3))
        await asyncio.sleep(0)
        await pool.aclose()
        with pytest.raises(ConnectionBroken):
            await reading
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)
        with pytest.raises(ShuttingDown):
            await post(pool, provider.url())
