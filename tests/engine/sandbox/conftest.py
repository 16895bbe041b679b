from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox_on_docker import backend, require_image, spec
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.port import Sandbox


@pytest.fixture(scope="session")
def image() -> None:
    require_image()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boxes(image: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerSandboxes]:
    async with backend(tmp_path_factory.mktemp("sandboxes")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(boxes: DockerSandboxes) -> AsyncIterator[Sandbox]:
    """One sandbox for all tests of a module that leave it usable."""
    sandbox = await boxes.open(spec())
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")
