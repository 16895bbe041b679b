"""Looking a TXT record up, against a name server on loopback that speaks the real protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from shopfloor.domain.accounts.oidc_domains import NameServiceAway, TextLookup, dns_texts


class NameServer(asyncio.DatagramProtocol):
    """Answers for what it knows; NXDOMAIN for the rest."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.rcode = dns.rcode.NOERROR
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = str(query.question[0].name)
        self.asked.append(name)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if self.rcode != dns.rcode.NOERROR:
            answer.set_rcode(self.rcode)
        elif name not in self.texts:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif self.texts[name]:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *self.texts[name]))
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield protocol
    transport.close()


@pytest.fixture
def lookup(server: NameServer) -> TextLookup:
    port = server.transport.get_extra_info("sockname")[1]
    return dns_texts(nameservers=["127.0.0.1"], port=port)


async def test_every_text_of_a_name_is_found_with_its_parts_joined(server, lookup):
    server.texts["_shopfloor-challenge.example.org."] = ['"shopfloor-domain=abc"', '"in two " "parts"']
    assert sorted(await lookup("_shopfloor-challenge.example.org")) == ["in two parts", "shopfloor-domain=abc"]
    assert server.asked == ["_shopfloor-challenge.example.org."]  # no search list of the machine behind it


async def test_a_name_that_is_not_there_or_has_no_text_has_none(server, lookup):
    assert await lookup("nothing.example.org") == []
    server.texts["empty.example.org."] = []
    assert await lookup("empty.example.org") == []


async def test_a_name_server_that_fails_is_said_so(server, lookup):
    server.rcode = dns.rcode.SERVFAIL
    with pytest.raises(NameServiceAway):
        await lookup("example.org")
