"""An image without Python: commands go through the engine, and the sandbox says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from sandbox_on_docker import output_of, spec
from shopfloor.base.errors import TooLarge
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.image import image_name
from shopfloor.engine.sandbox.port import Sandbox
from shopfloor.engine.workspace import FileMissing, PathRefused, WorkspaceLost

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bare(boxes: DockerSandboxes) -> AsyncIterator[str]:
    """The name of the default image with its Python taken away."""
    engine, tag = boxes._launcher.engine, new_id().hex[-12:]
    remove = ["sh", "-c", "rm -f /usr/bin/python*; sleep 60"]
    config = {
        "Image": image_name(),
        "User": "0",
        "Entrypoint": [],
        "Cmd": remove,
        "HostConfig": {"NetworkMode": "none"},
    }
    container = await engine.create(f"sf-bare-{tag}", config)
    try:
        await engine.start(container)
        await asyncio.sleep(0.5)
        await engine.commit(container, "sf-bare", tag, {"shopfloor.test": "bare"}, timeout_s=60)
    finally:
        await engine.remove(container)
    yield f"sf-bare:{tag}"
    await engine.remove_image(f"sf-bare:{tag}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(boxes: DockerSandboxes, bare: str) -> AsyncIterator[Sandbox]:
    async with aclosing(await boxes.open(spec(image=bare))) as sandbox:
        yield sandbox


async def test_it_says_so(plain: Sandbox):
    assert "no Python in the image" in plain.isolation.notes[-1]
    assert (await plain.run("command -v python3", timeout_s=10)).ok is False


async def test_commands_run_with_their_folder_environment_and_stdin(plain: Sandbox):
    await plain.write_file("deep/file", b"x")
    result = await plain.run("pwd; echo $WHO; cat; exit 3", timeout_s=10, cwd="deep", env={"WHO": "me"}, stdin=b"in")
    assert (result.output, result.exit_code) == (b"/workspace/deep\nme\nin", 3)


async def test_a_command_ends_at_its_time_limit(plain: Sandbox):
    result = await plain.run("echo begun; sleep 60", timeout_s=1)
    assert (result.timed_out, result.exit_code, result.output) == (True, None, b"begun\n")


async def test_files_are_written_read_listed_and_deleted(plain: Sandbox):
    data = bytes(range(256)) * 400
    await plain.write_file("dir/new\nline", data, executable=True)
    content = await plain.read_file("dir/new\nline", offset=100, limit_bytes=50)
    assert (content.data, content.size_bytes) == (data[100:150], len(data))
    assert [(entry.path, entry.kind) for entry in (await plain.list_files("dir")).entries] == [
        ("dir/new\nline", "file")
    ]
    assert b"".join([piece async for piece in plain.get("dir/new\nline", max_bytes=len(data))]) == data
    with pytest.raises(TooLarge):
        [piece async for piece in plain.get("dir/new\nline", max_bytes=10)]
    await plain.delete_file("dir/new\nline")
    with pytest.raises(FileMissing):
        await plain.read_file("dir/new\nline")


@pytest.mark.parametrize("path", ["../etc/passwd", "/etc/passwd", "out/passwd"])
async def test_paths_that_lead_outside_are_refused(plain: Sandbox, path: str):
    await output_of(plain, "ln -sfn /etc out")
    with pytest.raises(PathRefused):
        await plain.read_file(path)
    with pytest.raises(PathRefused):
        await plain.write_file(path, b"x")


async def test_a_cancelled_command_ends_the_sandbox(boxes: DockerSandboxes, bare: str):
    async with aclosing(await boxes.open(spec(image=bare))) as sandbox:
        task = asyncio.create_task(sandbox.run("sleep 60", timeout_s=60))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(WorkspaceLost):
            await sandbox.run("true", timeout_s=5)
