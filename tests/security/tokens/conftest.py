"""One application a module, with people on it: each attack takes fresh ones, so that none helps another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from domain.accounts.fake_identity_provider import FakeIdentityProvider
from domain.accounts.sso_ground import Sso, fake_provider, sso_app
from signed_in import Ground, ground


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(postgres: str, template: str) -> AsyncIterator[Ground]:
    async with ground(postgres, template) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sso(here: Ground) -> AsyncIterator[Sso]:
    opened = sso_app(here)
    await opened.prove()
    yield opened


@pytest.fixture
def provider() -> Iterator[FakeIdentityProvider]:
    with fake_provider() as opened:
        yield opened
