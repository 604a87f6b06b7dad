"""New connections: names, several addresses, TLS; and what a caller is told where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading

import pytest
import trustme
from aiohappyeyeballs import AddrInfoType

from completions.transport import dialing
from completions.transport.request import Address
from gateway_project.errors import ProviderTimeout, ProviderUnavailable
from tests.completions.transport.peers import (
    CHUNKED,
    Peer,
    always,
    eventually,
    nothing_is_left,
    open_sockets,
    pooled,
    post,
    serving,
    text,
)


def refused_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("engine.test", "127.0.0.1", "localhost").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
def client_tls(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    authority.configure_trust(context)
    return context


@contextlib.contextmanager
def names(monkeypatch, **known: list[tuple[str, int]]):
    """Names that are known without asking the network, and each time that one was asked for."""
    asked: list[str] = []

    async def look_up(address: Address) -> list[AddrInfoType]:
        asked.append(address.host)
        await asyncio.sleep(0)
        if address.host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in known[address.host]]

    monkeypatch.setattr(dialing, "_look_up", look_up)
    yield asked


async def test_nobody_listening_is_told_by_its_cause():
    async with pooled() as pool:
        with pytest.raises(ProviderUnavailable, match="cannot be reached") as caught:
            await post(pool, f"http://127.0.0.1:{refused_port()}/")
        assert caught.value.raw == "ConnectionRefusedError"


async def test_a_name_that_nobody_knows_is_told_by_its_cause(monkeypatch):
    with names(monkeypatch):
        async with pooled() as pool:
            with pytest.raises(ProviderUnavailable, match="cannot be reached") as caught:
                await post(pool, "http://nowhere.test/")
            assert caught.value.raw == "gaierror"


async def test_a_name_is_asked_for_once_by_all_and_then_remembered(monkeypatch):
    async with serving(always) as provider, pooled() as pool:
        with names(monkeypatch, **{"engine.test": [("127.0.0.1", provider.port)]}) as asked:
            url = provider.url(host="engine.test")
            await asyncio.gather(*[post(pool, url) for _ in range(5)])
            await asyncio.gather(*[post(pool, url) for _ in range(9)])
            assert asked == ["engine.test"]
            assert len(provider.peers) == 9


async def test_a_caller_that_leaves_takes_the_name_from_nobody(monkeypatch):
    async with serving(always) as provider, pooled() as pool:
        with names(monkeypatch, **{"engine.test": [("127.0.0.1", provider.port)]}) as asked:
            first, second = (asyncio.ensure_future(post(pool, provider.url(host="engine.test"))) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert await text(await second) == b"hello"
            assert first.cancelled()
            assert asked == ["engine.test"]


async def test_a_name_is_asked_for_again_after_a_while_and_where_nobody_answers_any_more(monkeypatch):
    async with serving(always) as provider, pooled() as pool:
        known = {"engine.test": [("127.0.0.1", provider.port)], "moved.test": [("127.0.0.1", refused_port())]}
        with names(monkeypatch, **known) as asked:
            monkeypatch.setattr(dialing, "NAMES_KEPT_S", 0)
            await asyncio.gather(*[post(pool, provider.url(host="engine.test")) for _ in range(2)])
            await asyncio.gather(*[post(pool, provider.url(host="engine.test")) for _ in range(3)])
            assert asked == ["engine.test"] * 2
            monkeypatch.undo()
        with names(monkeypatch, **known) as asked:
            with pytest.raises(ProviderUnavailable):
                await post(pool, "http://moved.test/")
            known["moved.test"][:] = [("127.0.0.1", provider.port)]
            assert await text(await post(pool, "http://moved.test/")) == b"hello"
            assert asked == ["moved.test"] * 2


async def test_a_name_that_is_forgotten_as_it_is_told_is_still_told(monkeypatch):
    internet, address = dialing.Internet(), Address("http", "engine.test", 80)
    with names(monkeypatch, **{"engine.test": [("127.0.0.1", 80)]}):
        waiting = asyncio.ensure_future(internet._addresses(address))
        while address not in internet._names:
            await asyncio.sleep(0)
        internet._names.pop(address)  # as a call does that fails to connect in this moment
        assert not waiting.done()
        assert [info[4] for info in await waiting] == [("127.0.0.1", 80)]


async def test_an_address_that_refuses_or_is_silent_is_passed_over(monkeypatch):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        async with serving(always) as provider, pooled() as pool:
            good = ("127.0.0.1", provider.port)
            known = {"refuses.test": [("127.0.0.1", refused_port()), good], "silent.test": [deaf.getsockname(), good]}
            with names(monkeypatch, **known):
                for host in known:
                    assert await text(await post(pool, f"http://{host}/")) == b"hello"


async def test_an_address_is_used_as_it_is_and_no_thread_is_started():
    async with serving(always) as provider, pooled() as pool:
        before = threading.active_count()
        assert await text(await post(pool, provider.url())) == b"hello"
        assert threading.active_count() == before


async def test_a_new_socket_sends_at_once_and_notices_a_dead_peer():
    async with serving(always) as provider, pooled() as pool:
        await text(await post(pool, provider.url()))
        (connection,) = pool._open
        opened = connection._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


# --- TLS --------------------------------------------------------------------------------------------------------------


async def test_calls_over_tls_share_a_connection_that_says_who_is_meant_and_what_is_spoken(
    monkeypatch, server_tls, client_tls
):
    asked_for = []
    server_tls.sni_callback = lambda _, name, __: asked_for.append(name)
    async with serving(always, server_tls) as provider, pooled(client_tls) as pool:
        with names(monkeypatch, **{"engine.test": [("127.0.0.1", provider.port)]}):
            for _ in range(50):
                assert await text(await post(pool, provider.url(host="engine.test"))) == b"hello"
        assert [peer.requests for peer in provider.peers] == [50]
        assert asked_for == ["engine.test"]
        assert provider.peers[0].writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_a_large_request_and_a_large_answer_fit_through_tls(server_tls, client_tls):
    body = bytes(range(256)) * 20_000

    async def echo(peer: Peer) -> None:
        _, _, said = (await peer.request()).partition(b"\r\n\r\n")
        await peer.say(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(said), said))
        await peer.gone()

    async with serving(echo, server_tls) as provider, pooled(client_tls) as pool:
        assert await text(await post(pool, provider.url(), body=body)) == body


@pytest.mark.parametrize(("host", "is_trusted"), [("127.0.0.1", False), ("other.test", True)])
async def test_a_certificate_that_is_not_the_providers_is_refused(monkeypatch, server_tls, client_tls, host, is_trusted):
    sockets = open_sockets()
    async with serving(always, server_tls) as provider, pooled(client_tls if is_trusted else None) as pool:
        with names(monkeypatch, **{"other.test": [("127.0.0.1", provider.port)]}):
            with pytest.raises(ProviderUnavailable, match="cannot be reached") as caught:
                await post(pool, provider.url(host=host))
            assert caught.value.raw == "SSLCertVerificationError"
    await nothing_is_left(sockets)


async def silent(peer: Peer) -> None:
    await peer.gone()


@pytest.mark.parametrize("way", ["in time", "cancelled"])
async def test_a_handshake_that_never_ends_is_given_up(client_tls, way):
    sockets = open_sockets()
    async with serving(silent) as provider, pooled(client_tls) as pool:
        url = provider.url().replace("http:", "https:")
        if way == "in time":
            with pytest.raises(ProviderTimeout, match="did not accept the connection in time"):
                await post(pool, url, connect_s=0.1)
        else:
            calling = asyncio.ensure_future(post(pool, url))
            await provider.peer()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)
    await nothing_is_left(sockets)


async def test_leaving_an_answer_over_tls_is_seen_at_once(server_tls, client_tls):
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n")
        await peer.gone()

    sockets = open_sockets()
    async with serving(play, server_tls) as provider, pooled(client_tls) as pool:
        answer = await post(pool, provider.url())
        assert await answer.read(3) == b"hello"
        await answer.aclose()
        await asyncio.wait_for(provider.peers[0].left.wait(), 5)
        await eventually(lambda: not pool._open, "the connection was kept")
    await nothing_is_left(sockets)
