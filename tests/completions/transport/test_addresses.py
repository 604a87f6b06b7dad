"""Where no connection goes: to the pages on which clouds hand out a machine's credentials, however they are named."""

from __future__ import annotations

import socket

import pytest
from aiohappyeyeballs import AddrInfoType

from catalog.addresses import is_forbidden
from completions.transport import dialing
from completions.transport.request import Address
from gateway_project.errors import ProviderUnavailable
from tests.completions.transport.peers import pooled, post


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::100.100.100.200",
        "::ffff:168.63.129.16",
    ],
)
def test_link_local_addresses_and_metadata_are_forbidden(address):
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.7", "192.168.1.2", "100.64.0.1", "fd00::1", "203.0.113.9", "64:ff9b::10.0.0.7"]
)
def test_engines_of_ones_own_network_are_not(address):
    assert not is_forbidden(address)


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.test"])
async def test_neither_an_address_nor_a_name_leads_there(monkeypatch, caplog, host):
    async def look_up(address: Address) -> list[AddrInfoType]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", address.port))]

    monkeypatch.setattr(dialing, "_look_up", look_up)
    async with pooled() as pool:
        with pytest.raises(ProviderUnavailable, match="cannot be reached") as refused:
            await post(pool, f"http://{host}/v1/chat/completions")
    assert refused.value.raw == "PermissionError"
    assert "no connection to 169.254.169.254" in caplog.text
