"""Real PostgreSQL for every test: one server a session, one migrated template, one database a test."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import structlog

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import first_start, local_owner
from shopfloor.infra import schema
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store

_TEMPLATE = f"shopfloor_template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The owner's URL of a running server."""
    with tempfile.TemporaryDirectory(prefix="sf-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres")
        url = server.start()
        with psycopg.connect(url, autocommit=True) as connection:
            # The tests kill processes, never the machine: without waiting for the disk a database is there in 50 ms.
            connection.execute("alter system set fsync = off")
            connection.execute("select pg_reload_conf()")
        yield url
        server.stop()


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """The name of a migrated, empty database."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {_TEMPLATE}")
    schema.migrate(_with_database(postgres, _TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def database_url(postgres: str, template: str) -> Iterator[str]:
    """The owner's URL of a database of this test's own."""
    name = f"test_{new_id().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy file_copy")
        yield _with_database(postgres, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Open pools on a database of this test's own."""
    settings = DatabaseSettings(url=database_url)
    database = Database(urls_of(settings), settings)
    await database.open()
    yield Store(database)
    await database.aclose()


@pytest.fixture
def sealer() -> MasterKeySealer:
    """A sealer with a visibly fake key."""
    return MasterKeySealer(bytes(range(32)))


@pytest.fixture
async def owner(store: Store, sealer: MasterKeySealer) -> Principal:
    """The owner of the first organization."""
    await first_start(store, sealer)
    return await local_owner(store)


def _with_database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that configures logging, as every door does, leaves nothing of it to the next one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
