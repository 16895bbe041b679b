"""The proxy of one sandbox, asked over its socket: what passes, what it counts and tells, and when it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from egress_bench import (
    ALLOWED,
    QUICK,
    WatchedResolver,
    authority,
    client_hello,
    connect,
    door,
    server,
    through_tls,
)
from shopfloor.engine.sandbox.egress_rules import PlaceMalformed
from shopfloor.engine.sandbox.port import Egress, NetworkEvent

GET = b"GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\n"


async def test_https_goes_through_a_tunnel():
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}") as out:
        answer = await through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)
        assert answer.endswith(b"hello")
        assert web.names == [ALLOWED]
        assert out.events == [NetworkEvent("network.allowed", f"{ALLOWED}:{web.port}")]


async def test_plain_http_is_passed_on_to_a_port_that_is_listed():
    async with server() as web, door(f"*.example:{web.port}") as out:
        place = f"{ALLOWED}:{web.port}"
        headers = f"Host: {ALLOWED}\r\nX-Kept: 1\r\nConnection: X-Gone\r\nX-Gone: 1\r\n"
        head = f"GET http://{place}/a?b=c HTTP/1.1\r\n{headers}\r\n"
        assert (await out.ask(head.encode())).endswith(b"hello")
        own = f"Host: {place}\r\nVia: 1.1 shopfloor\r\nConnection: close\r\n"
        assert web.heads == [f"GET /a?b=c HTTP/1.1\r\n{own}x-kept: 1\r\n\r\n".encode()]


@pytest.mark.parametrize(
    ("framing", "body", "sent"),
    [
        ("Content-Length: 5", b"12345", b"content-length: 5\r\n\r\n12345"),
        (
            "Transfer-Encoding: chunked",
            b"5\r\n12345\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
        ),
    ],
)
async def test_a_body_is_passed_on(framing: str, body: bytes, sent: bytes):
    async with server(hold=True) as web, door(f"{ALLOWED}:{web.port}") as out:
        head = f"POST http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
        answer = await out.ask(head.encode() + body)
        assert answer.endswith(b"hello")
        assert web.received.endswith(sent)


async def test_bytes_are_counted_by_place():
    async with server(answer=b"x" * 100_000) as web, door(f"{ALLOWED}:{web.port}") as out:
        ledger = out.proxies._proxies["box"]._way.ledger
        await out.ask(f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        place = f"{ALLOWED}:{web.port}"
        assert ledger.received == {place: 100_000}
        assert ledger.sent == {place: len(web.heads[0])}


async def test_a_spent_allowance_cuts_the_connection_and_is_told():
    limits = replace(QUICK, total_bytes=50_000)
    async with server(answer=b"x" * 1_000_000) as web, door(f"{ALLOWED}:{web.port}", limits=limits) as out:
        request = f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert len(await out.ask(request)) <= 50_000
        assert len(await out.ask(request)) == 0
        assert out.reasons == ["allowance-spent"]


async def test_each_new_thing_is_told_once_and_a_flood_is_only_counted():
    limits = replace(QUICK, reports=3, accept_pause_s=0.0)
    async with door(ALLOWED, limits=limits) as out:
        for number in range(6):
            await out.ask(connect(f"host{number // 2}.example:443"))
            await out.ask(connect("again.example:443"))
        places = ["host0.example:443", "again.example:443", "host1.example:443"]
        assert out.events == [NetworkEvent("network.refused", place, "not-allowed") for place in places]
        assert out.proxies._proxies["box"]._way.ledger.refused == {"not-allowed": 12}


async def test_what_a_refusal_names_is_told_without_control_characters():
    async with door(ALLOWED) as out:
        await out.ask(b"CONNECT evil\x1b[2Jhost:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        await out.ask(f"CONNECT {'a' * 5000}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert all(event.place.isprintable() and len(event.place) <= 200 for event in out.events)
        assert out.reasons == ["malformed", "malformed"]


async def test_the_refusal_says_what_to_do():
    async with door(ALLOWED) as out:
        answer = await out.ask(connect("pypi.example:443"))
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"X-Shopfloor-Egress: not-allowed\r\n" in answer
        assert b"pypi.example:443 is not on the list of places this sandbox may reach" in answer


@pytest.mark.parametrize(("answers", "status"), [([], b"502"), (["127.0.0.1"], b"502")])
async def test_a_place_that_is_not_there_is_told(answers: list[str], status: bytes):
    async with server() as web:
        port = web.port
    resolver = WatchedResolver(allowed_example=[answers])
    async with door(f"{ALLOWED}:{port}", resolver=resolver) as out:
        assert (await out.ask(connect(f"{ALLOWED}:{port}"))).split()[1] == status


async def test_the_second_address_is_tried_when_the_first_does_not_answer():
    async with server(authority().context(ALLOWED)) as web:
        resolver = WatchedResolver(allowed_example=[["127.0.0.2", "127.0.0.1"]])
        async with door(f"{ALLOWED}:{web.port}", resolver=resolver) as out:
            assert (await through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)).endswith(b"hello")
            assert resolver.asked == [ALLOWED]


async def test_closing_cuts_what_is_open_and_removes_the_socket():
    async with server(authority().context(ALLOWED), hold=True) as web, door(f"{ALLOWED}:{web.port}") as out:
        reader, writer = await asyncio.open_unix_connection(out.socket)
        writer.write(connect(f"{ALLOWED}:{web.port}"))
        await reader.readuntil(b"\r\n\r\n")
        await out.proxies.close("box")
        assert await reader.read() == b""
        assert not out.folder.exists()
        writer.close()
        await out.proxies.close("box")


async def test_at_its_limit_it_serves_the_next_when_one_leaves():
    limits = replace(QUICK, connections=2, head_s=30)
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}", limits=limits) as out:
        held = [await asyncio.open_unix_connection(out.socket) for _ in range(2)]
        asked = asyncio.create_task(through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET))
        done, _ = await asyncio.wait([asked], timeout=0.2)
        assert not done
        assert web.connections == 0
        held[0][1].close()
        assert (await asked).endswith(b"hello")
        held[1][1].close()


async def test_the_folder_lets_nobody_else_in():
    async with door(ALLOWED) as out:
        assert out.folder.parent.stat().st_mode & 0o777 == 0o700


async def test_a_malformed_list_opens_nothing():
    async with door(ALLOWED) as out:
        with pytest.raises(PlaceMalformed, match=r"https://x\.example"):
            await out.proxies.open("second", Egress(("https://x.example",)))
        assert not (out.folder.parent / "second").exists()


async def test_an_address_that_is_listed_takes_tls_without_a_name():
    async with server(authority().context(ALLOWED)) as web, door(f"127.0.0.1:{web.port}") as out:
        _, back = await out.tunnel(f"127.0.0.1:{web.port}", client_hello(None))
        assert back[:1] == b"\x16"
        assert out.resolver.asked == []
