"""One installation a module, its worker at work."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from engine.git.git_fixtures import Origin
from engine.git.git_http_server import GitServer
from lifecycle.shop import Shop, a_home, open_shop, settings_in
from sandbox_on_docker import require_image
from shopfloor.apps.worker import working
from shopfloor.testing import sample_project

CREDENTIALS = ("robot", "fake-token-for-tests")


# Tracebacks with the values of every variable, structlog's default, would take minutes on the event loop.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(scope="session")
def image() -> None:
    require_image()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(image: None) -> AsyncIterator[Shop]:
    credentials = {"127.0.0.1": ":".join(CREDENTIALS)}
    async with a_home() as home:
        settings = settings_in(home, repositories={"credentials": credentials})
        async with open_shop(settings) as opened, working(opened.parts):
            yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A Git server over HTTP; `server.url("sample.git")` is the sample project."""
    folder = tmp_path_factory.mktemp("git")
    (folder / "served").mkdir()
    sample = Origin(folder / "served", folder / "sample", "sample.git")
    shutil.rmtree(sample.work)
    sample_project.create(sample.work)
    sample.commit({})
    served = GitServer(folder / "served")
    yield served
    served.close()


@pytest.fixture
def origin(server: GitServer, tmp_path: Path) -> Origin:
    """A repository of this test's own on that server; its URL is `server.url(origin.bare.name)`."""
    return Origin(server.root, tmp_path / "work", f"{tmp_path.name}.git")
