"""From a model's name to what can call it, and what it costs at which time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shopfloor.base.errors import InvalidInput, PermissionDenied
from shopfloor.base.principal import Principal
from shopfloor.domain.models import prices, providers
from shopfloor.domain.models import store as rows
from shopfloor.domain.models.candidates import candidates, check_models, model_refs
from shopfloor.domain.models.errors import ModelNotOffered, ProviderUnknown
from shopfloor.domain.models.models import OfferedModel
from shopfloor.domain.models.providers import NewProvider, add_provider, ensure_env_providers
from shopfloor.engine.providers.port import Credentials, ModelRef, Price, PriceUnknown
from shopfloor.engine.providers.profiles import ModelProfiles
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin

KEY = "sk-ant-EXAMPLE-0000"
LOCAL = NewProvider("local", "openai-compatible", base_url="http://127.0.0.1:9/v1")
PUBLIC = Credentials("anthropic", "anthropic", KEY)
SONNET = ModelRef("anthropic", "claude-sonnet-4-5")


async def test_a_public_model_is_ready_with_its_key_price_and_sizes(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))
        [found] = await candidates(tx, sealer, [SONNET])
    assert found.ref == SONNET
    assert (found.credentials.api_key, KEY in repr(found)) == (KEY, False)
    assert (found.price.picos["input"], found.price.picos["output"]) == (3_000_000, 15_000_000)
    assert found.price.source.startswith("genai-prices ")
    assert found.context_tokens is not None
    assert 0 < found.max_output_tokens <= found.context_tokens


async def test_the_seed_is_recorded_once_when_a_model_is_first_used(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))

    async def use() -> None:
        async with begin(store, owner) as tx:
            await candidates(tx, sealer, [SONNET, SONNET])

    await asyncio.gather(*(use() for _ in range(6)))
    async with begin(store, owner) as tx:
        listed = await prices.list_prices(tx, before=None, limit=10)
    assert [(row.model, row.source.split()[0]) for row in listed] == [("claude-sonnet-4-5", "genai-prices")]


async def test_a_seed_that_has_changed_since_adds_a_row_and_holds(store: Store, owner: Principal):
    old = Price("claude-sonnet-4-5", {"input": 1, "output": 1}, datetime(2024, 1, 1, tzinfo=UTC), "genai-prices 0.0.1")
    async with begin(store, owner) as tx:
        await rows.add_price(tx, SONNET, old)
        price = await prices.price_in_force(tx, PUBLIC, SONNET.model)
        again = await prices.price_in_force(tx, PUBLIC, SONNET.model)
        listed = await prices.list_prices(tx, before=None, limit=10)
    assert price.picos["input"] == 3_000_000
    assert again == price
    assert len(listed) == 2


async def test_the_organizations_own_price_goes_before_the_seed(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))
        await prices.price_in_force(tx, PUBLIC, SONNET.model)
        await prices.set_price(tx, SONNET, {"output": 7})
        price = await prices.price_in_force(tx, PUBLIC, SONNET.model)
    assert (price.picos["input"], price.picos["output"], price.source) == (3_000_000, 7, "organization")


async def test_a_price_holds_from_its_date_and_the_earlier_one_until_then(store: Store, owner, sealer: MasterKeySealer):
    ref, now = ModelRef("local", "llama"), datetime.now(UTC)
    local = Credentials("local", "openai-compatible", "", "http://127.0.0.1:9/v1")
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, LOCAL)
        await prices.set_price(tx, ref, {"input": 1, "output": 1}, valid_from=now - timedelta(days=2))
        await prices.set_price(tx, ref, {"input": 5}, valid_from=now + timedelta(days=2))
        today = await prices.price_in_force(tx, local, "llama")
        later = await prices.price_in_force(tx, local, "llama", now + timedelta(days=3))
        with pytest.raises(PriceUnknown):
            await prices.price_in_force(tx, local, "llama", now - timedelta(days=3))
    assert (today.picos, later.picos) == ({"input": 1, "output": 1}, {"input": 5, "output": 1})


async def test_units_set_at_the_same_moment_by_two_people_are_all_kept(store: Store, owner, sealer: MasterKeySealer):
    ref = ModelRef("local", "llama")
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, LOCAL)

    async def put(unit: str, picos: int) -> None:
        async with begin(store, owner) as tx:
            await prices.set_price(tx, ref, {unit: picos})

    await asyncio.gather(put("input", 1), put("output", 2), put("cache-read", 3), put("reasoning", 4))
    local = Credentials("local", "openai-compatible", "", "http://127.0.0.1:9/v1")
    async with begin(store, owner) as tx:
        price = await prices.price_in_force(tx, local, "llama")
    assert price.picos == {"input": 1, "output": 2, "cache-read": 3, "reasoning": 4}


async def test_a_self_hosted_model_with_a_public_name_has_no_price(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, LOCAL)
        with pytest.raises(PriceUnknown, match="shopfloor price set local/gpt-4o"):
            await candidates(tx, sealer, [ModelRef("local", "gpt-4o")])


async def test_a_public_kind_at_another_address_is_not_priced_as_the_public_service(
    store: Store, owner, sealer: MasterKeySealer
):
    """Also not when the model was priced before, at the public address."""
    async with begin(store, owner) as tx:
        provider = await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))
        await candidates(tx, sealer, [SONNET])
        change = providers.ProviderChange(frozenset({"base_url", "api_key"}), KEY, "https://proxy.example.org")
        await providers.change_provider(tx, sealer, provider, change)
        with pytest.raises(PriceUnknown):
            await candidates(tx, sealer, [SONNET])


async def test_half_a_price_is_none(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, LOCAL)
        await prices.set_price(tx, ModelRef("local", "llama"), {"input": 1})
        with pytest.raises(PriceUnknown, match="names no output"):
            await candidates(tx, sealer, [ModelRef("local", "llama")])


async def test_an_unknown_provider_says_which_there_are_and_how_to_add_it(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        with pytest.raises(ProviderUnknown, match=r"There is none yet.*shopfloor provider add x"):
            await candidates(tx, sealer, [ModelRef("x", "y")])
        await add_provider(tx, sealer, LOCAL)
        with pytest.raises(ProviderUnknown, match="There are: local"):
            await candidates(tx, sealer, [ModelRef("x", "y")])


async def test_only_the_models_that_are_set_up_may_be_used_with_the_sizes_given(
    store: Store, owner, sealer: MasterKeySealer
):
    models = (OfferedModel("llama", context_tokens=4_096, max_output_tokens=512),)
    async with begin(store, owner) as tx:
        await add_provider(
            tx, sealer, NewProvider("local", "openai-compatible", base_url=LOCAL.base_url, models=models)
        )
        await prices.set_price(tx, ModelRef("local", "llama"), {"input": 0, "output": 0})
        [found] = await candidates(tx, sealer, [ModelRef("local", "llama")])
        with pytest.raises(ModelNotOffered, match="set up for llama only"):
            await candidates(tx, sealer, [ModelRef("local", "other")])
    assert (found.context_tokens, found.max_output_tokens) == (4_096, 512)


async def test_another_organizations_provider_is_unknown(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))
    other = Principal("user", owner.id, owner.id, frozenset({"*"}))
    async with begin(store, other) as tx:
        with pytest.raises(ProviderUnknown, match="none yet"):
            await candidates(tx, sealer, [SONNET])


async def test_a_chain_is_checked_as_a_whole_and_keeps_its_order(store: Store, owner, sealer: MasterKeySealer):
    profiles = ModelProfiles(profiles={"strong": ["anthropic/claude-sonnet-4-5"]})
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))
        refs = await check_models(tx, sealer, "anthropic/claude-haiku-4-5, strong", profiles)
        with pytest.raises(ProviderUnknown):
            await check_models(tx, sealer, "anthropic/claude-haiku-4-5,openai/gpt-5")
    assert [str(ref) for ref in refs] == ["anthropic/claude-haiku-4-5", "anthropic/claude-sonnet-4-5"]


@pytest.mark.parametrize("text", ["", "strong", "a/b,,c/d", "/x"])
def test_text_that_names_no_model_is_refused(text: str):
    with pytest.raises(InvalidInput):
        model_refs(text)


async def test_an_environments_keys_become_providers_and_follow_it(store: Store, owner, sealer: MasterKeySealer):
    environ = {"ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": "AIza-EXAMPLE", "AWS_REGION": "eu-central-1", "HOME": "/x"}
    async with begin(store, owner) as tx:
        assert sorted(await ensure_env_providers(tx, sealer, environ)) == ["anthropic", "google"]
        assert await ensure_env_providers(tx, sealer, environ) == []
        assert await ensure_env_providers(tx, sealer, environ | {"ANTHROPIC_API_KEY": KEY + "1"}) == ["anthropic"]
        [found] = await candidates(tx, sealer, [SONNET])
        assert found.credentials.api_key == KEY + "1"
        listed = await providers.list_providers(tx, after=None, limit=10)
    assert [(each.name, each.origin) for each in listed] == [("anthropic", "environment"), ("google", "environment")]


async def test_a_provider_added_by_hand_is_not_touched_by_the_environment(store: Store, owner, sealer: MasterKeySealer):
    async with begin(store, owner) as tx:
        await add_provider(tx, sealer, NewProvider("anthropic", "anthropic", KEY))
        assert await ensure_env_providers(tx, sealer, {"ANTHROPIC_API_KEY": "sk-ant-OTHER"}) == []
        [found] = await candidates(tx, sealer, [SONNET])
    assert found.credentials.api_key == KEY


async def test_a_provider_that_was_named_but_has_no_key_says_which_variable(store: Store, owner, sealer):
    async with begin(store, owner) as tx:
        with pytest.raises(InvalidInput, match="ANTHROPIC_API_KEY"):
            await ensure_env_providers(tx, sealer, {}, wanted=["anthropic"])
        assert await ensure_env_providers(tx, sealer, {}, wanted=["ollama"]) == ["ollama"]
        await add_provider(tx, sealer, NewProvider("mine", "anthropic", KEY))
        assert await ensure_env_providers(tx, sealer, {}, wanted=["mine"]) == []


async def test_verbs_refuse_a_principal_without_the_permission(store: Store, owner, sealer: MasterKeySealer):
    nobody = Principal("key", owner.id, owner.organization_id, frozenset({"job.read"}))
    async with begin(store, nobody) as tx:
        with pytest.raises(PermissionDenied):
            await add_provider(tx, sealer, LOCAL)
        with pytest.raises(PermissionDenied):
            await prices.set_price(tx, SONNET, {"input": 0})
        with pytest.raises(PermissionDenied):
            await providers.list_providers(tx, after=None, limit=1)
