"""The check of prices names each model in use that has none, one of nothing, or an old one."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from fastapi import FastAPI

from domain.usage.conftest import Paid, Pay
from shopfloor.base.principal import Principal
from shopfloor.domain.models.models import OfferedModel
from shopfloor.domain.models.prices import NewPrice, add_price
from shopfloor.domain.models.providers import NewProvider, add_provider
from shopfloor.domain.usage import api
from shopfloor.engine.providers.port import ModelRef
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin


@pytest.fixture(autouse=True)
async def providers(app: FastAPI, store: Store, owner: Principal, sealer: MasterKeySealer) -> None:
    app.include_router(api.router)
    offered = (OfferedModel("named"), OfferedModel("free"))
    async with begin(store, owner) as tx:
        local = NewProvider("local", "openai-compatible", base_url="http://127.0.0.1:9/v1", models=offered)
        await add_provider(tx, sealer, local)
        await add_provider(tx, sealer, NewProvider("openai", "openai", "sk-EXAMPLE"))
        await add_price(tx, ModelRef("local", "free"), NewPrice({"input": 0, "output": 0}))


async def _found(client: httpx2.AsyncClient) -> dict[str, str]:
    answer = await client.get("/api/v1/prices/check")
    assert answer.status_code == 200, answer.text
    return {f"{each['provider']}/{each['model']}": each["problem"] for each in answer.json()["findings"]}


async def test_models_without_a_price_and_free_ones_are_named(client: httpx2.AsyncClient):
    assert await _found(client) == {"local/named": "unknown", "local/free": "zero"}


async def test_a_model_that_was_used_is_looked_at_though_nobody_set_it_up(client: httpx2.AsyncClient, pay: Pay):
    await pay(Paid(provider="openai", model="o3", at=datetime.now(UTC)))
    assert "openai/o3" not in await _found(client)  # the list has a price
    await pay(Paid(provider="openai", model="unheard-of", at=datetime.now(UTC)))
    assert (await _found(client))["openai/unheard-of"] == "unknown"


async def test_an_own_price_from_before_the_list_changed_is_stale(
    client: httpx2.AsyncClient, store: Store, owner: Principal, pay: Pay
):
    """The list made o3 cheaper on 2025-06-10."""
    await pay(Paid(provider="openai", model="o3", at=datetime.now(UTC)))
    async with begin(store, owner) as tx:
        await add_price(tx, ModelRef("openai", "o3"), NewPrice({}, valid_from=datetime(2025, 1, 1, tzinfo=UTC)))
    assert (await _found(client))["openai/o3"] == "stale"
    async with begin(store, owner) as tx:
        await add_price(tx, ModelRef("openai", "o3"), NewPrice({"input": 1}))
    assert "openai/o3" not in await _found(client)
