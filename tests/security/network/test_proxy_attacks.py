"""Attacks on the proxy from inside a sandbox, over its socket; each beside the same thing done honestly. BOX-3."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from egress_bench import (
    ALLOWED,
    OTHER,
    QUICK,
    WatchedResolver,
    authority,
    client_hello,
    connect,
    door,
    server,
    through_tls,
    with_extension,
)
from shopfloor.engine.sandbox.egress import EgressProxies, Lookups
from shopfloor.engine.sandbox.egress_hello import UNRECOGNIZED_NAME

GET = b"GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\n"
# Where no sandbox may ever come: metadata services, the host, the inner network, and the ways to spell them in IPv6.
FORBIDDEN = {
    "metadata": "169.254.169.254",
    "metadata_ipv6": "fd00:ec2::254",
    "loopback": "127.0.0.1",
    "docker_gateway": "172.17.0.1",
    "inner_network": "10.1.2.3",
    "this_host": "0.0.0.0",
    "loopback_ipv6": "::1",
    "mapped": "::ffff:127.0.0.1",
    "compatible": "::127.0.0.1",
    "nat64": "64:ff9b::7f00:1",
    "nat64_local": "64:ff9b:1::7f00:1",
    "6to4": "2002:7f00:1::",
    "link_local_ipv6": "fe80::1",
    "multicast": "224.0.0.1",
}


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_an_allowed_name_that_leads_to_a_forbidden_address_is_refused(name: str):
    resolver = WatchedResolver(allowed_example=[[FORBIDDEN[name]]])
    async with door(f"{ALLOWED}:443", private=False, resolver=resolver) as out:
        assert await out.ask(connect(f"{ALLOWED}:443")) != b""
        assert out.reasons == ["address-refused"]


async def test_one_forbidden_address_among_good_ones_refuses_them_all():
    async with server() as web:
        resolver = WatchedResolver(allowed_example=[["127.0.0.1", "169.254.169.254"]])
        async with door(f"{ALLOWED}:{web.port}", resolver=resolver) as out:
            await out.ask(connect(f"{ALLOWED}:{web.port}"))
            assert out.reasons == ["address-refused"]
            assert web.connections == 0
            resolver.answers["allowed_example"] = [["127.0.0.1"]]
            assert b" 200 " in (await out.tunnel(f"{ALLOWED}:{web.port}", b""))[0]
            assert web.connections == 1


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_a_raw_address_is_refused_although_a_wildcard_is_open(name: str):
    address = FORBIDDEN[name]
    target = f"[{address}]:443" if ":" in address else f"{address}:443"
    async with door("*.example", "*.0.0.1.example", resolver=WatchedResolver()) as out:
        answer = await out.ask(connect(target))
        assert answer.split()[1] in {b"400", b"403"}
        assert out.reasons in (["not-allowed"], ["malformed"])
        assert out.resolver.asked == []


async def test_the_address_behind_an_allowed_name_is_refused_when_asked_for_itself():
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}") as out:
        assert b" 403 " in await out.ask(connect(f"127.0.0.1:{web.port}"))
        assert web.connections == 0
        assert (await through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)).endswith(b"hello")


async def test_metadata_is_refused_even_if_it_is_listed_and_private_addresses_are_allowed():
    async with server() as web, door("169.254.169.254:80", f"127.0.0.1:{web.port}", private=True) as out:
        answer = await out.ask(b"GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 403 " in answer
        assert out.reasons == ["address-refused"]
        assert (await out.ask(f"GET http://127.0.0.1:{web.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())).endswith(
            b"hello"
        )


async def test_rebinding_finds_the_checked_address_only():
    """The name is looked up once for a connection; a second answer is a new check, and can't bend an open tunnel."""
    async with server(authority().context(ALLOWED)) as web:
        resolver = WatchedResolver(allowed_example=[["127.0.0.1"], ["169.254.169.254"]])
        async with door(f"{ALLOWED}:{web.port}", resolver=resolver) as out:
            assert (await through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)).endswith(b"hello")
            assert resolver.asked == [ALLOWED]
            assert b" 403 " in await out.ask(connect(f"{ALLOWED}:{web.port}"))
            assert web.connections == 1


async def test_another_port_of_an_allowed_host_is_refused():
    async with server() as web, server() as inner, door(f"{ALLOWED}:{web.port}") as out:
        assert b" 403 " in await out.ask(connect(f"{ALLOWED}:{inner.port}"))
        assert b" 403 " in await out.ask(f"GET http://{ALLOWED}:{inner.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert inner.connections == 0
        assert b" 200 " in (await out.tunnel(f"{ALLOWED}:{web.port}", b""))[0]


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (client_hello(OTHER), "server-name-differs"),
        (client_hello(f"sub.{ALLOWED}"), "server-name-differs"),
        (client_hello(f"{ALLOWED}."), "server-name-differs"),
        (client_hello(None), "no-server-name"),
        (with_extension(client_hello(ALLOWED), 0xFE0D, bytes(40)), "encrypted-hello"),
        (b"GET / HTTP/1.1\r\nHost: allowed.example\r\n\r\n", "not-tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not-tls"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "not-tls"),
        (b"\x17\x03\x03\x00\x10" + b"x" * 16, "not-tls"),
        (b"\x00" * 64, "not-tls"),
    ],
    ids=[
        "other",
        "subdomain",
        "final-dot",
        "none",
        "encrypted",
        "http",
        "ssh",
        "server-hello",
        "application-data",
        "zeros",
    ],
)
async def test_a_tunnel_that_is_not_tls_for_its_host_carries_nothing(hello: bytes, reason: str):
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        _, back = await out.tunnel(f"{ALLOWED}:{web.port}", hello)
        assert back == UNRECOGNIZED_NAME
        assert out.reasons == [reason]
        assert web.received == b""


async def test_the_control_of_the_above_a_right_hello_arrives():
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}") as out:
        _, back = await out.tunnel(f"{ALLOWED}:{web.port}", client_hello(ALLOWED.upper()))
        assert back[:1] == b"\x16"
        assert web.names == [ALLOWED.upper()]


async def test_a_hello_sent_together_with_connect_is_checked_too():
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}") as out:
        early = connect(f"{ALLOWED}:{web.port}") + client_hello(OTHER)
        assert (await out.ask(early)).endswith(UNRECOGNIZED_NAME)
        assert web.names == []
        early = connect(f"{ALLOWED}:{web.port}") + client_hello(ALLOWED)
        answer, _, record = (await out.ask(early)).partition(b"\r\n\r\n")
        assert b" 200 " in answer
        assert record[:1] == b"\x16"
        assert web.names == [ALLOWED]


async def test_a_name_service_never_hears_of_a_refused_name():
    """Data in the labels of names is the classic tunnel: the query itself would carry it out."""
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}", f"*.{ALLOWED}") as out:
        for number in range(20):
            secret = f"c2VjcmV0{number}.tunnel.evil"
            await out.ask(connect(f"{secret}:443"))
            await out.ask(f"GET http://{secret}/ HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n".encode())
        await out.ask(connect(f"sub.{ALLOWED}:{web.port}"))  # its port is not the wildcard's
        assert out.resolver.asked == []
        assert (await through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)).endswith(b"hello")
        assert out.resolver.asked == [ALLOWED]


@pytest.mark.parametrize(
    "target",
    [
        "allowed.example@other.example:443",
        "other.example#allowed.example:443",
        "other.example?allowed.example:443",
        "allowed.example%00.other.example:443",
        "allowed.example\x00.other.example:443",
        "allowed.example.:443",
        "allowed.example..:443",
        "allowed。example:443",
        "ａllowed.example:443",
        "аllowed.example:443",
        "[allowed.example]:443",
        "allowed.example:443:443",
        "allowed.example\\.other.example:443",
        "allowed.example:0443\t",
        "other.example/allowed.example:443",
        "evilallowed.example:443",
        "allowed.example.evil:443",
        "allowed.example",
        "http://allowed.example:443",
    ],
)
async def test_a_host_in_a_tricky_spelling_is_refused_without_a_look_up(target: str):
    async with door(f"{ALLOWED}:443") as out:
        answer = await out.ask(b"CONNECT " + target.encode() + b" HTTP/1.1\r\nHost: allowed.example\r\n\r\n")
        assert answer.split()[1] in {b"400", b"403"}
        assert out.resolver.asked == []


async def test_the_control_of_the_above_upper_case_is_the_same_host():
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}") as out:
        target = f"ALLOWED.Example:{web.port}"
        assert (await through_tls(out.socket, target, ALLOWED, GET)).endswith(b"hello")


@pytest.mark.parametrize(
    "inside", ["evilallowed.example", "allowed.example", "sub.allowed.example.evil", "a.allowed.example.evil"]
)
async def test_a_wildcard_does_not_match_what_only_ends_like_it(inside: str):
    async with server(authority().context("sub.allowed.example")) as web, door(f"*.{ALLOWED}:{web.port}") as out:
        assert b" 403 " in await out.ask(connect(f"{inside}:{web.port}"))
        assert web.connections == 0
        good = await through_tls(out.socket, f"sub.{ALLOWED}:{web.port}", f"sub.{ALLOWED}", GET)
        assert good.endswith(b"hello")


async def test_line_breaks_in_a_request_write_no_header():
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        for line in (
            f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\nX-A: 1\n\rHost: evil\r\n\r\n",
            f"GET http://{ALLOWED}:{web.port}/\rX-Evil: HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET http://{ALLOWED}:{web.port}/\nX-Evil: 1 HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\n X-Folded: evil\r\n: empty\r\n\r\n",
        ):
            assert b" 400 " in await out.ask(line.encode())
        assert web.received == b""
        await out.ask(f"GET http://{ALLOWED}:{web.port}/%0d%0aX-Evil:1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert web.heads[0].startswith(b"GET /%0d%0aX-Evil:1 HTTP/1.1\r\n")


async def test_the_host_header_decides_nothing():
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        refused = f"GET http://{OTHER}:{web.port}/ HTTP/1.1\r\nHost: {ALLOWED}:{web.port}\r\n\r\n"
        assert b" 403 " in await out.ask(refused.encode())
        relative = f"GET / HTTP/1.1\r\nHost: {ALLOWED}:{web.port}\r\n\r\n"
        assert b" 400 " in await out.ask(relative.encode())
        twice = f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: {ALLOWED}\r\nHost: {OTHER}\r\n\r\n"
        assert b" 400 " in await out.ask(twice.encode())
        assert web.connections == 0
        served = f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: {OTHER}\r\nX-Host: {OTHER}\r\n\r\n"
        assert (await out.ask(served.encode())).endswith(b"hello")
        assert f"\r\nHost: {ALLOWED}:{web.port}\r\n".encode() in web.heads[0]
        assert b"\r\nHost: other" not in web.heads[0]


async def test_a_second_request_on_the_same_connection_never_arrives():
    async with server(hold=True) as web, door(f"{ALLOWED}:{web.port}") as out:
        first = f"GET http://{ALLOWED}:{web.port}/one HTTP/1.1\r\nHost: x\r\n\r\n"
        second = f"GET http://{OTHER}:{web.port}/two HTTP/1.1\r\nHost: {OTHER}\r\n\r\n"
        assert (await out.ask((first + second).encode())).endswith(b"hello")
        assert web.received.count(b"HTTP/1.1") == 1
        assert b"/one" in web.received


@pytest.mark.parametrize(
    "framing",
    ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 0",
     "Content-Length: 4\r\nContent-Length: 5", "Content-Length: +4", "Content-Length: 4, 5", "Content-Length: 0x4",
     "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding : chunked",
     "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Content-Length: -1", "Content-Length: 4\x0b"],
)  # fmt: skip
async def test_a_body_with_two_lengths_smuggles_nothing(framing: str):
    async with server(hold=True) as web, door(f"{ALLOWED}:{web.port}") as out:
        smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: other.example\r\n\r\n"
        head = f"POST http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()
        assert b" 400 " in await out.ask(head + smuggled)
        assert web.connections == 0


async def test_what_follows_a_body_stays_behind():
    async with server(hold=True) as web, door(f"{ALLOWED}:{web.port}") as out:
        head = f"POST http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n".encode()
        await out.ask(head + b"bodyGET /smuggled HTTP/1.1\r\nHost: other.example\r\n\r\n")
        assert web.received.endswith(b"\r\n\r\nbody")
        chunks = b"4;ext=\x22a\x22\r\nbody\r\n0\r\nX-Trailer: evil\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
        head = f"POST http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        await out.ask(head + chunks)
        assert web.received.endswith(b"4\r\nbody\r\n0\r\n\r\n")


async def test_connect_with_a_body_is_refused():
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        target = f"{ALLOWED}:{web.port}"
        request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nContent-Length: 10\r\n\r\n0123456789".encode()
        assert b" 400 " in await out.ask(request)
        assert web.connections == 0
        assert b" 200 " in (await out.tunnel(target, b""))[0]


async def test_an_upgrade_does_not_turn_plain_http_into_a_tunnel():
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\n"
    async with server(hold=True, answer=switched) as web, door(f"{ALLOWED}:{web.port}") as out:
        head = f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
        await out.ask(head.encode() + b"raw bytes after the switch")
        assert b"pgrade" not in web.received
        assert b"raw bytes" not in web.received


@pytest.mark.parametrize("giant", [b"A" * 200_000, b"X-Long: " + b"a" * 200_000, b"X: 1\r\n" * 40_000])
async def test_a_giant_head_is_cut_off(giant: bytes):
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        answer = await out.ask(f"GET http://{ALLOWED}:{web.port}/ HTTP/1.1\r\nHost: x\r\n".encode() + giant)
        assert answer.split()[1] in {b"431", b"400"}
        assert web.connections == 0


async def test_a_slow_head_is_given_up():
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        reader, writer = await asyncio.open_unix_connection(out.socket)

        async def drip() -> None:
            with suppress(OSError):
                for byte in connect(f"{ALLOWED}:{web.port}"):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)

        async with asyncio.timeout(5):
            dripping = asyncio.create_task(drip())
            assert b" 408 " in await reader.read()
        dripping.cancel()
        writer.close()
        assert out.reasons == ["too-slow"]
        assert web.connections == 0


async def test_a_slow_hello_is_given_up():
    async with server() as web, door(f"{ALLOWED}:{web.port}") as out:
        _, back = await out.tunnel(f"{ALLOWED}:{web.port}", client_hello(ALLOWED)[:20])
        assert back == UNRECOGNIZED_NAME
        assert out.reasons == ["too-slow"]
        assert web.received == b""


async def test_a_connection_left_half_open_ends():
    limits = replace(QUICK, idle_s=60, half_open_s=0.2)
    left = asyncio.Event()

    async def never_ends(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await left.wait()
        writer.close()

    listening = await asyncio.start_server(never_ends, "127.0.0.1", 0)
    place = f"{ALLOWED}:{listening.sockets[0].getsockname()[1]}"
    async with door(place, limits=limits) as out:
        reader, writer = await asyncio.open_unix_connection(out.socket)
        writer.write(connect(place) + client_hello(ALLOWED))
        await reader.readuntil(b"\r\n\r\n")
        still, _ = await asyncio.wait([asyncio.create_task(reader.read())], timeout=0.5)
        assert not still  # open in both directions it may rest: this is the control
        writer.write_eof()
        serving = set(out.proxies._proxies["box"]._serving)
        assert len(serving) == 1
        _, pending = await asyncio.wait(serving, timeout=5)
        assert not pending
        writer.close()
    left.set()
    listening.close()


async def test_a_flood_of_connections_occupies_neither_the_worker_nor_its_descriptors():
    limits = replace(QUICK, connections=8, head_s=0.2)
    async with server(authority().context(ALLOWED)) as web, door(f"{ALLOWED}:{web.port}", limits=limits) as out:
        proxy = out.proxies._proxies["box"]
        flood = []
        for _ in range(300):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(out.socket)
            flood.append(sock)
        seen = 0
        for _ in range(50):
            await asyncio.sleep(0.005)
            seen = max(seen, proxy.open_connections)
        assert seen == 8
        for sock in flood:
            sock.close()
        async with asyncio.timeout(10):
            assert (await through_tls(out.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)).endswith(b"hello")


async def test_one_sandbox_can_not_use_up_the_look_ups_of_another():
    """A name server of the attacker's choice never answers: its sandbox waits, the others and the worker don't."""
    stuck, asked = threading.Event(), []

    def never(host: str, port: int) -> list[str]:
        asked.append(host)
        stuck.wait(20)
        return []

    threads = ThreadPoolExecutor(3)
    bad = Lookups(threads, at_once=2, look_up=never)
    good = Lookups(threads, at_once=2, look_up=lambda host, port: [f"{host}:{port}"])
    waiting = [asyncio.create_task(bad("slow.example", 443)) for _ in range(20)]
    try:
        async with asyncio.timeout(5):
            assert await good("a.example", 443) == ["a.example:443"]
        for task in waiting[:10]:
            task.cancel()  # given up by the proxy at its limit: the threads are still taken
        async with asyncio.timeout(5):
            assert await good("b.example", 443) == ["b.example:443"]
        assert len(asked) == 2
    finally:
        stuck.set()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        threads.shutdown()


async def test_a_proxy_of_another_sandbox_keeps_to_its_own_list():
    async with (
        server(authority().context(ALLOWED)) as web,
        door(f"{ALLOWED}:{web.port}") as mine,
        door(OTHER) as theirs,
    ):
        assert b" 403 " in await theirs.ask(connect(f"{ALLOWED}:{web.port}"))
        assert (await through_tls(mine.socket, f"{ALLOWED}:{web.port}", ALLOWED, GET)).endswith(b"hello")
        assert theirs.reached == []


WORKER = """
import asyncio, sys
from pathlib import Path
from egress_bench import WatchedResolver
from shopfloor.engine.sandbox.egress import EgressProxies
from shopfloor.engine.sandbox.port import Egress

async def main():
    proxies = EgressProxies(Path(sys.argv[1]), allow_private=True, resolver=WatchedResolver())
    folder, _ = await proxies.open("box", Egress((sys.argv[2],)))
    print(folder, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_worker_leaves_no_way_out():
    tests = Path(__file__).parents[2]
    async with server(authority().context(ALLOWED), hold=True) as web:
        with tempfile.TemporaryDirectory() as short:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, f"{short}/doors", f"{ALLOWED}:{web.port}",
                stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tests)},
            )  # fmt: skip
            assert worker.stdout is not None
            path = (await worker.stdout.readline()).decode().strip() + "/proxy.sock"
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(connect(f"{ALLOWED}:{web.port}"))
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            worker.kill()
            await worker.wait()
            assert await reader.read() == b""
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_unix_connection(path)
            proxies = EgressProxies(Path(short) / "doors")
            await proxies.close("box")  # as the reaper does
            assert list((Path(short) / "doors").iterdir()) == []
            await proxies.aclose()
