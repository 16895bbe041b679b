"""The way out as programs in a real sandbox use it: urllib, openssl, pip; and environments that are built with it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from egress_bench import ALLOWED, LOOPBACK, WatchedResolver, authority, server
from sandbox_on_docker import SMALL, output_of, spec
from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.egress import EgressProxies
from shopfloor.engine.sandbox.port import (
    Egress,
    Environment,
    EnvironmentFailed,
    NetworkEvent,
    Sandbox,
    SandboxUnavailable,
)
from shopfloor.engine.sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

WHEEL = "sample_from_index-1.0-py3-none-any.whl"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boxes(image: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerSandboxes]:
    """Every name leads to this machine."""
    state = tmp_path_factory.mktemp("egress")
    door = EgressProxies(state / "doors", allow_private=True, resolver=WatchedResolver())
    settings = SandboxSettings(state_dir=state, limits=SMALL)
    made = DockerSandboxes(settings, install_id=f"t{new_id().hex[-11:]}", clock=SystemClock(), egress=door)
    yield made
    await made.reap(lambda _: False, now=SystemClock().now())
    await made.aclose()
    assert list((state / "doors").iterdir()) == []
    await door.aclose()


async def with_authority(sandbox: Sandbox) -> None:
    await sandbox.write_file("ca.pem", authority().pem.encode())


async def test_python_reaches_an_allowed_https_server_and_checks_its_certificate(boxes: DockerSandboxes):
    events: list[NetworkEvent] = []
    async with server(authority().context(ALLOWED)) as web:
        allowed = f"{ALLOWED}:{web.port}"
        sandbox = await boxes.open(spec(egress=Egress((allowed,), report=events.append)))
        assert sandbox.isolation.network == "allow-list"
        await with_authority(sandbox)
        context = "ssl.create_default_context(cafile='ca.pem')"
        get = f"import ssl,urllib.request as u; print(u.urlopen('https://{{}}/', context={context}).read())"
        assert await output_of(sandbox, f'python3 -c "{get.format(allowed)}"') == "b'hello'"
        other = f"other.example:{web.port}"
        assert "Tunnel connection failed: 403" in await output_of(
            sandbox, f'python3 -c "{get.format(other)}" 2>&1 | tail -1'
        )
        await sandbox.aclose()
    assert events == [NetworkEvent("network.allowed", allowed), NetworkEvent("network.refused", other, "not-allowed")]


async def test_without_an_allow_list_there_is_no_door_and_no_variable(boxes: DockerSandboxes):
    sandbox = await boxes.open(spec())
    assert sandbox.isolation.network == "none"
    assert await output_of(sandbox, "env | grep -i proxy; ls -A /run/shopfloor") == "guest"
    assert "refused" in await output_of(sandbox, "bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128' 2>&1 | tail -1")
    await sandbox.aclose()


async def test_a_large_download_arrives_whole(boxes: DockerSandboxes):
    body = bytes(range(256)) * 40_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with server(answer=answer) as web:
        sandbox = await boxes.open(spec(egress=Egress((f"{ALLOWED}:{web.port}",))))
        url = f"http://{ALLOWED}:{web.port}/"
        digest = f"import hashlib,urllib.request as u; print(hashlib.sha256(u.urlopen('{url}').read()).hexdigest())"
        assert await output_of(sandbox, f'python3 -c "{digest}"') == hashlib.sha256(body).hexdigest()
        await sandbox.aclose()


async def test_many_connections_at_once_are_all_served(boxes: DockerSandboxes):
    async with server() as web:
        sandbox = await boxes.open(spec(egress=Egress((f"{ALLOWED}:{web.port}",))))
        program = f"""
import concurrent.futures, urllib.request
def get(_):
    return urllib.request.urlopen("http://{ALLOWED}:{web.port}/", timeout=30).read()
with concurrent.futures.ThreadPoolExecutor(50) as pool:
    print(sum(body == b"hello" for body in pool.map(get, range(200))))
"""
        result = await sandbox.run(["python3", "-"], timeout_s=60, stdin=program.encode())
        assert result.output == b"200\n"
        await sandbox.aclose()


async def test_pip_installs_from_an_allowed_index_into_an_environment_that_keeps_no_way_out(boxes: DockerSandboxes):
    async with index() as port:
        environment = Environment(
            setup=(f"pip install --cert ca.pem --index-url https://{ALLOWED}:{port}/simple/ sample-from-index",)
        )
        name = await boxes.prepare(environment, spec(egress=Egress((f"{ALLOWED}:{port}",))), with_authority)
    sandbox = await boxes.open(spec(image=name))
    assert await output_of(sandbox, "python -c 'import sample_from_index as s; print(s.ANSWER)'") == "42"
    assert await output_of(sandbox, "env | grep -i proxy") == ""
    assert sandbox.isolation.network == "none"
    await sandbox.aclose()
    await boxes._launcher.engine.remove_image(name)


async def test_a_build_that_is_refused_a_place_reports_it(boxes: DockerSandboxes):
    """pip itself says only that it found no distribution."""
    events: list[NetworkEvent] = []
    setup = (f"pip install --retries 0 --index-url https://{ALLOWED}/simple/ sample-from-index",)
    egress = Egress(("other.example",), report=events.append)
    with pytest.raises(EnvironmentFailed, match="No matching distribution"):
        await boxes.prepare(Environment(setup=setup), spec(egress=egress), with_authority)
    assert events == [NetworkEvent("network.refused", f"{ALLOWED}:443", "not-allowed")]


async def test_a_worker_without_a_proxy_refuses_a_spec_that_wants_one(image: None, tmp_path: Path):
    made = DockerSandboxes(SandboxSettings(state_dir=tmp_path), install_id="none", clock=SystemClock())
    with pytest.raises(SandboxUnavailable, match="no egress proxy"):
        await made.open(spec(egress=Egress((ALLOWED,))))
    await made.aclose()


@asynccontextmanager
async def index() -> AsyncIterator[int]:
    """A package index with one wheel, over HTTPS. Source: the simple repository API, PEP 503."""
    files = {
        "/simple/sample-from-index/": (b"text/html", f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()),
        f"/{WHEEL}": (b"application/zip", wheel()),
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
                kind, body = files[path]
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    listening = await asyncio.start_server(serve, LOOPBACK, 0, ssl=authority().context(ALLOWED))
    yield listening.sockets[0].getsockname()[1]
    listening.close()


def wheel() -> bytes:
    info = "sample_from_index-1.0.dist-info"
    contents = {
        "sample_from_index.py": b"ANSWER = 42\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: sample-from-index\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for name, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    return buffer.getvalue()
