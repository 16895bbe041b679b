"""People with passwords, browsers with cookies, and a program with tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from shopfloor.base.principal import Principal
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.infra.tx import Store
from signed_in import Browsers, People


@pytest.fixture
async def browsers(app: FastAPI) -> AsyncIterator[Browsers]:
    browsers = Browsers(app)
    yield browsers
    for http in browsers.open:
        await http.aclose()


@pytest.fixture
def people(store: Store, accounts_desk: AccountsDesk, owner: Principal) -> People:
    return People(store, accounts_desk, owner)
