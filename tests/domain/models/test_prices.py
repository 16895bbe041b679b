"""Own prices: narrower ones first, at each tier and place, by pattern, above a length; and what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import httpx2
import pytest

from shopfloor.base.errors import InvalidInput
from shopfloor.base.principal import Principal
from shopfloor.domain.models.models import covers
from shopfloor.domain.models.prices import NewPrice, add_price, price_in_force
from shopfloor.domain.models.providers import NewProvider, add_provider
from shopfloor.engine.providers.port import Credentials, ModelRef, Price, PriceUnknown, Usage
from shopfloor.engine.providers.pricing import at_service_tier, cost_nanos
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin

OPENAI = Credentials("openai", "openai", "sk-EXAMPLE")
LOCAL = Credentials("local", "openai-compatible", "", "http://127.0.0.1:9/v1")
GPT = ModelRef("openai", "gpt-5.4")
AGES_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def providers(store: Store, owner: Principal, sealer: MasterKeySealer) -> None:
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("openai", "openai", "sk-EXAMPLE"))
        await add_provider(tx, sealer, NewProvider("local", "openai-compatible", base_url=LOCAL.base_url))


async def _in_force(store: Store, owner: Principal, who: Credentials, model: str) -> Price:
    async with begin(store, owner) as tx:
        return await price_in_force(tx, who, model)


async def _set(store: Store, owner: Principal, ref: ModelRef, new: NewPrice) -> None:
    async with begin(store, owner) as tx:
        await add_price(tx, ref, new)


async def test_a_price_names_the_row_that_it_is_from(store: Store, owner: Principal):
    first = await _in_force(store, owner, OPENAI, "gpt-5.4")
    again = await _in_force(store, owner, OPENAI, "gpt-5.4")
    assert first.id is not None
    assert first.id == again.id
    await _set(store, owner, GPT, NewPrice({"output": 1}))
    own = await _in_force(store, owner, OPENAI, "gpt-5.4")
    assert own.id not in {None, first.id}


async def test_a_pattern_prices_what_nothing_narrower_is_set_for(store: Store, owner: Principal):
    for pattern, each in (("qwen*", 1), ("qwen3-*", 2), ("*", 9)):
        await _set(store, owner, ModelRef("local", pattern), NewPrice({"input": each, "output": each}))
    await _set(store, owner, ModelRef("local", "qwen3-coder"), NewPrice({"input": 3, "output": 3}))
    found = {
        model: (await _in_force(store, owner, LOCAL, model)).picos["input"]
        for model in ("qwen3-coder", "qwen3-coder:30b", "qwen2", "llama")
    }
    assert found == {"qwen3-coder": 3, "qwen3-coder:30b": 2, "qwen2": 1, "llama": 9}
    assert (await _in_force(store, owner, LOCAL, "llama")).model == "llama"


@pytest.mark.parametrize(
    ("pattern", "model", "fits"),
    [("gpt-5*", "gpt-5.4", True), ("gpt-5*", "xgpt-5", False), ("a.c", "abc", False), ("x[1m]", "x[1m]", True),
     ("*-mini", "gpt-5-mini", True), ("*-mini", "gpt-5-mini-2", False)],
)  # fmt: skip
def test_only_a_star_of_a_pattern_means_more_than_itself(pattern: str, model: str, fits: bool):
    assert covers(pattern, model) is fits


async def test_a_region_of_its_own_goes_before_everywhere(store: Store, owner: Principal):
    await _set(store, owner, GPT, NewPrice({}, times=Fraction(11, 10), region="eu"))
    there = Credentials("openai", "openai", "sk-EXAMPLE", region="eu")
    assert (await _in_force(store, owner, there, "gpt-5.4")).picos["input"] == 2_750_000
    assert (await _in_force(store, owner, OPENAI, "gpt-5.4")).picos["input"] == 2_500_000
    tiers = (await _in_force(store, owner, there, "gpt-5.4")).tiers
    assert tiers == ((272_000, {"input": 5_500_000, "cache-read": 550_000, "output": 24_750_000}),)


async def test_a_multiple_of_nothing_is_refused(store: Store, owner: Principal):
    with pytest.raises(InvalidInput, match="set its input and output first"):
        await _set(store, owner, ModelRef("local", "llama"), NewPrice({}, times=Fraction(2)))


async def test_a_tier_that_is_set_goes_before_the_published_one(store: Store, owner: Principal):
    usage = Usage(input_tokens=1_000_000)
    before = await _in_force(store, owner, OPENAI, "gpt-5.4-nano")
    assert [cost_nanos(usage, at_service_tier(before, tier)) for tier in ("standard", "flex", "priority")] == [
        200_000_000, 100_000_000, 200_000_000,
    ]  # fmt: skip
    for tier, each in (("priority", 400_000), ("flex", 90_000)):
        new = NewPrice({"input": each}, service_tier="priority" if tier == "priority" else "flex")
        await _set(store, owner, ModelRef("openai", "gpt-5.4-nano"), new)
    after = await _in_force(store, owner, OPENAI, "gpt-5.4-nano")
    assert [cost_nanos(usage, at_service_tier(after, tier)) for tier in ("standard", "flex", "priority")] == [
        200_000_000, 90_000_000, 400_000_000,
    ]  # fmt: skip
    assert after.source.startswith("genai-prices")  # the standard tier is as it was


async def test_a_unit_may_be_dearer_above_a_length(store: Store, owner: Principal):
    ref = ModelRef("local", "llama")
    await _set(store, owner, ref, NewPrice({"input": 1_000, "output": 1_000}))
    await _set(store, owner, ref, NewPrice({"input": 2_000}, above_input_tokens=100))
    price = await _in_force(store, owner, LOCAL, "llama")
    assert [cost_nanos(Usage(input_tokens=n), price) for n in (100, 101)] == [100, 202]


async def test_a_price_of_the_future_holds_from_its_day(store: Store, owner: Principal):
    ref, now = ModelRef("local", "llama"), datetime.now(UTC)
    await _set(store, owner, ref, NewPrice({"input": 1, "output": 1}, valid_from=now - timedelta(days=1)))
    await _set(store, owner, ref, NewPrice({"input": 5}, valid_from=now + timedelta(days=1)))
    assert (await _in_force(store, owner, LOCAL, "llama")).picos["input"] == 1
    async with begin(store, owner) as tx:
        assert (await price_in_force(tx, LOCAL, "llama", now + timedelta(days=2))).picos["input"] == 5


async def test_looking_at_a_price_without_recording_it_writes_nothing(store: Store, owner: Principal):
    async with begin(store, owner) as tx:
        await price_in_force(tx, OPENAI, "gpt-5.4", record=False)
        assert await tx.one("select 1 from prices") is None
        await price_in_force(tx, OPENAI, "gpt-5.4")
        assert await tx.one("select 1 from prices") is not None
        with pytest.raises(PriceUnknown):
            await price_in_force(tx, LOCAL, "gpt-5.4", record=False)


async def test_over_http_a_price_has_its_tier_its_place_and_its_length(client: httpx2.AsyncClient):
    body = {"provider": "openai", "model": "gpt-5.4", "unit": "input", "usd_per_million": "9"}
    answer = await client.post(
        "/api/v1/prices", json=body | {"service_tier": "priority", "region": "eu", "above_input_tokens": 500}
    )
    assert answer.status_code == 201, answer.text
    row = answer.json()
    assert (row["service_tier"], row["region"]) == ("priority", "eu")
    assert {"above_input_tokens": 500, "usd_per_million": {"input": "9"}} in row["tiers"]
    body = {"provider": "openai", "model": "gpt-5.4", "times": "1.1", "region": "eu"}
    answer = await client.post("/api/v1/prices", json=body)
    assert answer.json()["usd_per_million"] == {"input": "2.75", "cache-read": "0.275", "output": "16.5"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"unit": "input"},
        {"usd_per_million": "1"},
        {"unit": "input", "usd_per_million": "1", "times": "2"},
        {"unit": "input", "times": "2"},
        {"times": "0"},
        {"times": "2", "above_input_tokens": 5},
        {"unit": "input", "usd_per_million": "-1"},
        {"unit": "input", "usd_per_million": "1", "service_tier": "first-class"},
        {"unit": "input", "usd_per_million": "1", "region": "Nowhere!"},
        {"unit": "colour", "usd_per_million": "1"},
    ],
)
async def test_a_price_that_says_two_things_or_nothing_is_refused(client: httpx2.AsyncClient, body: dict[str, Any]):
    answer = await client.post("/api/v1/prices", json={"provider": "openai", "model": "gpt-5.4"} | body)
    assert answer.status_code == 422, answer.text
