"""Budgets behind HTTP, and calls that were paid, as the ledger leaves them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI

from domain.budgets.paid_calls import calls  # noqa: F401 - a fixture
from shopfloor.domain.budgets import api as budgets_api


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    """The rooms' application with budgets; `desk` knows two agents."""
    app.include_router(budgets_api.router)
    state = app.state.shopfloor
    parts = {name: getattr(state, name) for name in type(state).__dataclass_fields__}
    app.state.shopfloor = SimpleNamespace(**parts, desk=SimpleNamespace(agents=lambda: ["coding", "review"]))
    return app


MakeBudget = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def make_budget(client: httpx2.AsyncClient) -> MakeBudget:
    async def make(**fields: object) -> httpx2.Response:
        body = {"scope": {"type": "organization"}, "period": "month", "limit_usd": "10"}
        return await client.post("/api/v1/budgets", json=body | fields)

    return make
