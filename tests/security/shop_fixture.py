"""One application for all attacks of a file: what an attack leaves behind is part of the next one's trial."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import pytest_asyncio

from security.api.tenants import Shop, open_shop
from shopfloor.base.ids import new_id


@pytest.fixture(scope="module")
def shop_url(postgres: str, template: str) -> Iterator[str]:
    """The owner's URL of a database of this file's own."""
    name = f"attacked_{new_id().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy file_copy")
        yield postgres.replace("/postgres?", f"/{name}?")
        connection.execute(f"drop database {name} with (force)")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shop_url: str) -> AsyncIterator[Shop]:
    async with open_shop(shop_url) as opened:
        yield opened
