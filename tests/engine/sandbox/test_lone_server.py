"""The exec server on this machine, without an engine: the same promises as in a container, and measured by coverage."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.sandbox import test_workspace_on_docker as promises
from engine.sandbox.lone_server import lone_server
from shopfloor.engine.sandbox.guest import kernel
from shopfloor.engine.sandbox.served import ServedWorkspace

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedWorkspace]:
    async with lone_server(tmp_path_factory.mktemp("lone")) as served:
        yield served


globals().update({name: test for name, test in vars(promises).items() if name.startswith("test_")})


async def test_without_openat2_no_link_is_followed_and_nothing_outside_is_reached(tmp_path: Path):
    """The walk that older kernels get: part by part."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"inside")
    (tmp_path / "in" / "link").symlink_to("file")
    (tmp_path / "in" / "out").symlink_to("/etc")
    root = os.open(tmp_path / "in", os.O_PATH | os.O_DIRECTORY)
    try:
        found = kernel._walk_beneath(root, "./file", os.O_RDONLY, 0)
        assert os.read(found, 100) == b"inside"
        os.close(found)
        os.close(kernel._walk_beneath(root, ".", os.O_PATH | os.O_DIRECTORY, 0))
        for path in ("../x", "/etc/passwd", "a/../../x"):
            with pytest.raises(kernel.Refused):
                kernel._walk_beneath(root, path, os.O_RDONLY, 0)
        for path in ("link", "out/passwd"):
            with pytest.raises((kernel.Refused, OSError)):
                kernel._walk_beneath(root, path, os.O_RDONLY, 0)
    finally:
        os.close(root)
