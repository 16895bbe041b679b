"""One application a module, with people on it: each attack takes fresh ones, so that none helps another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from signed_in import Ground, ground


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(postgres: str, template: str) -> AsyncIterator[Ground]:
    async with ground(postgres, template) as opened:
        yield opened
