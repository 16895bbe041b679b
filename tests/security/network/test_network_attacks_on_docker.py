"""Ways out of a real sandbox that are not the proxy: each fails inside and succeeds in a container with a network.

BOX-3 of the checklist.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from egress_bench import ALLOWED, WatchedResolver, authority, server
from sandbox_on_docker import SMALL, output_of, spec
from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.egress import EgressProxies
from shopfloor.engine.sandbox.engine import engine_at
from shopfloor.engine.sandbox.engine_exec import ExecWorkspace
from shopfloor.engine.sandbox.image import image_name
from shopfloor.engine.sandbox.port import Egress, NetworkEvent
from shopfloor.engine.sandbox.settings import SandboxSettings, default_engine_url

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

PROGRAM = Path(__file__).with_name("network_attacks.py").read_text()
NAMES = re.findall(r"^@attack\ndef (\w+)", PROGRAM, re.MULTILINE)


class Heard(asyncio.DatagramProtocol):
    """A name server on the host that only listens."""

    def __init__(self) -> None:
        self.queries: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.queries.append(data)
        self.transport.sendto(b"heard", addr)


@asynccontextmanager
async def listeners() -> AsyncIterator[tuple[bytes, Heard]]:
    """What the host listens on, and the program that looks for it."""
    abstract = f"sf-test-{new_id().hex}"
    heard = Heard()
    async with server() as web:
        local = socket.socket(socket.AF_UNIX)
        local.bind(f"\0{abstract}")
        local.listen()
        udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: heard, ("127.0.0.1", 0))
        port = udp.get_extra_info("sockname")[1]
        filled = f"TCP_PORT, UDP_PORT, ABSTRACT = {web.port}, {port}, {abstract!r}"
        try:
            yield re.sub(r"^TCP_PORT, .*$", filled, PROGRAM, count=1, flags=re.MULTILINE).encode(), heard
        finally:
            udp.close()
            local.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boxes(image: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerSandboxes]:
    """Sandboxes with a way out to whatever their spec allows; every name leads to this machine."""
    state = tmp_path_factory.mktemp("egress")
    settings = SandboxSettings(state_dir=state, limits=SMALL)
    door = EgressProxies(state / "doors", allow_private=True, resolver=WatchedResolver())
    made = DockerSandboxes(settings, install_id=f"t{new_id().hex[-11:]}", clock=SystemClock(), egress=door)
    yield made
    await made.reap(lambda _: False, now=SystemClock().now())
    await made.aclose()
    await door.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(boxes: DockerSandboxes) -> dict[str, tuple[dict[str, str], list[bytes]]]:
    """Of a sandbox without egress, one with, a container on the host's network; and what the name server heard."""
    found: dict[str, tuple[dict[str, str], list[bytes]]] = {}
    for name, egress in (("closed", Egress()), ("open", Egress((ALLOWED,)))):
        sandbox = await boxes.open(spec(egress=egress))
        found[name] = await attacked(sandbox)
        await sandbox.aclose()
    async with engine_at(default_engine_url()) as engine:
        config = {"Image": image_name(), "User": "10001", "Entrypoint": [], "Cmd": ["sleep", "600"]}
        host = {"WorkingDir": "/workspace", "HostConfig": {"NetworkMode": "host"}}
        ident = await engine.create(f"sf-control-{new_id().hex}", {**config, **host})
        try:
            await engine.start(ident)
            found["control"] = await attacked(ExecWorkspace(engine, ident, {}))
        finally:
            await engine.remove(ident)
    return found


async def attacked(where: Any) -> tuple[dict[str, str], list[bytes]]:
    async with listeners() as (program, heard):
        result = await where.run(["python3", "-"], timeout_s=60, stdin=program)
        assert result.ok, result.output
        return json.loads(result.output[result.output.index(b"{") :]), heard.queries


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["closed", "open"])
async def test_a_way_round_the_proxy_leads_nowhere(kind: str, name: str, outcomes: Any):
    assert outcomes[kind][0][name] != "done"
    if outcomes["control"][0][name] != "done":
        pytest.skip(f"this machine has no such way itself ({outcomes['control'][0][name]}), so there is no control")


async def test_the_watched_name_server_heard_nothing_of_the_sandboxes(outcomes: Any):
    assert outcomes["closed"][1] == outcomes["open"][1] == []
    assert b"secret" in outcomes["control"][1][0]


async def test_a_sandbox_does_not_reach_another(boxes: DockerSandboxes):
    one, two = [await boxes.open(spec(egress=Egress((ALLOWED,)))) for _ in range(2)]
    reach = "import socket; socket.create_connection(('127.0.0.1', 9000), 2); print('reached')"
    fetch = f'python3 -c "{reach}" 2>&1 | tail -1'
    serve = "nohup python3 -m http.server 9000 --bind 0.0.0.0 >/dev/null 2>&1 &"
    await one.run(f"{serve} until {fetch} | grep reached; do sleep 0.1; done", timeout_s=20)
    assert await output_of(one, fetch) == "reached"
    assert "refused" in await output_of(two, fetch)
    await one.aclose()
    await two.aclose()


TAMPER = {
    "unlink": "rm -f {0}/proxy.sock",
    "rename": "mv {0}/proxy.sock {0}/old.sock",
    "replace": "ln -sf /tmp/fake.sock {0}/proxy.sock",
    "another_socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{0}/second.sock\")'",
    "change_its_mode": "chmod 0 {0}/proxy.sock",
    "a_file_beside_it": "touch {0}/file",
}


@pytest.mark.parametrize("how", TAMPER)
async def test_the_socket_of_the_proxy_can_not_be_tampered_with(how: str, boxes: DockerSandboxes):
    sandbox = await boxes.open(spec(egress=Egress((ALLOWED,))))
    command = f"{TAMPER[how].format('/run/shopfloor/egress')} 2>&1"
    result = await sandbox.run(command, timeout_s=20)
    assert not result.ok
    assert b"Read-only file system" in result.output
    own = "mkdir d && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/proxy.sock\")' && "
    assert (await sandbox.run(own + TAMPER[how].format("d"), timeout_s=20)).ok
    await sandbox.aclose()


async def test_a_sandbox_finds_no_socket_but_its_own(boxes: DockerSandboxes):
    other = await boxes.open(spec(egress=Egress(("other.example",))))
    sandbox = await boxes.open(spec(egress=Egress((ALLOWED,))))
    closed = await boxes.open(spec())
    find = "find / /run /tmp /workspace /dev -type s -not -path '/proc/*' 2>/dev/null | sort -u"
    assert await output_of(sandbox, find) == "/run/shopfloor/egress/proxy.sock"
    assert await output_of(closed, find) == ""
    assert "No such file" in await output_of(closed, "ls /run/shopfloor/egress 2>&1")
    for each in (other, sandbox, closed):
        await each.aclose()


async def test_past_the_bridge_the_list_is_the_same(boxes: DockerSandboxes):
    events: list[NetworkEvent] = []
    async with server(authority().context(ALLOWED)) as web:
        allowed = f"{ALLOWED}:{web.port}"
        sandbox = await boxes.open(spec(egress=Egress((allowed,), report=events.append)))
        for target, status in ((f"other.example:{web.port}", 403), (f"127.0.0.1:{web.port}", 403), (allowed, 200)):
            result = await sandbox.run(["python3", "-", target], timeout_s=20, stdin=STRAIGHT)
            assert result.output.startswith(b"HTTP/1.1 %d " % status)
        await sandbox.aclose()
    assert [event.reason for event in events] == ["not-allowed", "not-allowed"]


STRAIGHT = b"""
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect("/run/shopfloor/egress/proxy.sock")
sock.sendall(b"CONNECT %s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % sys.argv[1].encode())
print(sock.recv(100).decode())
"""


async def test_a_killed_bridge_comes_back_and_opens_nothing(boxes: DockerSandboxes):
    async with server() as web:
        sandbox = await boxes.open(spec(egress=Egress((f"{ALLOWED}:{web.port}",))))
        await sandbox.run("pkill -KILL python3", timeout_s=20)
        for host, found in (
            (ALLOWED, "b'hello'"),
            ("other.example", "urllib.error.HTTPError: HTTP Error 403: Forbidden"),
        ):
            get = f"import urllib.request as u; print(u.urlopen('http://{host}:{web.port}/', timeout=5).read())"
            assert await output_of(sandbox, f'python3 -c "{get}" 2>&1 | tail -1') == found
        await sandbox.aclose()
