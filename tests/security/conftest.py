"""Sandboxes to attack, and unprotected containers in which the same attacks succeed: the positive controls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from sandbox_on_docker import backend, capabilities_here, require_image, spec
from security import tally
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.engine import Engine, engine_at
from shopfloor.engine.sandbox.engine_exec import ExecWorkspace
from shopfloor.engine.sandbox.image import image_name
from shopfloor.engine.sandbox.port import Sandbox
from shopfloor.engine.sandbox.settings import default_engine_url

PLAIN: dict[str, Any] = {"NetworkMode": "none"}
PRIVILEGED: dict[str, Any] = {
    "NetworkMode": "none",
    "CapAdd": capabilities_here(),
    "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "DeviceCgroupRules": ["a *:* rwm"],
}


@pytest.fixture(scope="session")
def image() -> None:
    require_image()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boxes(image: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerSandboxes]:
    async with backend(tmp_path_factory.mktemp("attacked")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(boxes: DockerSandboxes) -> AsyncIterator[Sandbox]:
    """The sandbox under attack."""
    sandbox = await boxes.open(spec())
    yield sandbox
    await sandbox.aclose()


@asynccontextmanager
async def container(engine: Engine, *, user: str, host: dict[str, Any]) -> AsyncIterator[ExecWorkspace]:
    """The same image without our protection."""
    config = {
        "Image": image_name(), "User": user, "Entrypoint": [], "Cmd": ["sleep", "600"], "HostConfig": host,
        "Labels": {"shopfloor.test": "control"}, "WorkingDir": "/workspace",
    }  # fmt: skip
    ident = await engine.create(f"sf-control-{new_id().hex}", config)
    try:
        await engine.start(ident)
        yield ExecWorkspace(engine, ident, {})
    finally:
        await engine.remove(ident)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unprotected(image: None) -> AsyncIterator[ExecWorkspace]:
    """The control: the agent's user in a container as Docker makes it, without limits."""
    async with engine_at(default_engine_url()) as engine, container(engine, user="10001", host=PLAIN) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def privileged(image: None) -> AsyncIterator[ExecWorkspace]:
    """The control for the kernel: root, privileged, no seccomp."""
    async with engine_at(default_engine_url()) as engine, container(engine, user="0", host=PRIVILEGED) as made:
        yield made


Told = Callable[[Any, bytes], Awaitable[dict[str, str]]]


@pytest.fixture(scope="session")
def told() -> Told:
    """Run a program that prints JSON, in a sandbox or a control."""

    async def run(where: Any, program: bytes) -> dict[str, str]:
        result = await where.run(["python3", "-"], timeout_s=120, stdin=program)
        assert result.ok, result.output[-2000:]
        return json.loads(result.output[result.output.index(b"{") :])

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The tally of attacks over HTTP, if any ran and all of them failed to get through."""
    tried = tally.attacks(terminalreporter.getreports("passed"))
    if tried and not terminalreporter.getreports("failed"):
        terminalreporter.section("attacks tried")
        terminalreporter.write_line("\n".join(tally.summary(tried)))
        assert not tally.too_few(tried), f"fewer than {tally.FEWEST} attacks were tried"
