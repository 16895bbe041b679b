from __future__ import annotations

import pytest

from engine.providers.doubles import StillClock, credentials, scenario
from shopfloor.engine.providers.port import ModelUnknown, ProviderError, ProviderRefused, ProviderTimeout
from shopfloor.engine.providers.probe import probe
from shopfloor.infra.outbound import GuardedTransport, OutboundLimits, OutboundRules, UrlRefused
from shopfloor.testing.mock_provider import serve

PRIVATE = OutboundRules(schemes=frozenset({"http"}), allow_private=True)
PUBLIC = OutboundRules(schemes=frozenset({"http"}))


@pytest.mark.parametrize("model", ["mock-coder", "claude-mock"])
async def test_a_working_key_says_so_with_what_it_used(model: str):
    async with serve(scenario("otherwise: {text: ready, usage: {input: 9, output: 2}}")) as server:
        found = await probe(credentials(server.url), model, clock=StillClock())
    assert (found.ok, found.error) == (True, None)
    assert found.usage is not None
    assert found.usage.total_tokens == 11


@pytest.mark.parametrize(
    ("key", "fault", "error"),
    [
        ("sk-wrong-fake", None, ProviderRefused),
        ("sk-mock-fake", "kind: error, status: 404", ModelUnknown),
        ("sk-mock-fake", "kind: error, status: 500", ProviderError),
        ("sk-mock-fake", "kind: hang", ProviderTimeout),
    ],
)
async def test_what_is_wrong_is_a_result(key: str, fault: str | None, error: type[Exception]):
    faults = f"[{{{fault}, times: always}}]" if fault else "[]"
    async with serve(scenario(f"replies: [{{text: ready, faults: {faults}}}]")) as server:
        found = await probe(credentials(server.url, api_key=key), "mock-coder", clock=StillClock(), timeout_s=0.3)
    assert not found.ok
    assert type(found.error) is error


async def test_credentials_that_can_not_work_are_a_result_too():
    found = await probe(credentials(None), "mock-coder", clock=StillClock())
    assert "needs a base URL" in str(found.error)


@pytest.mark.parametrize("model", ["mock-coder", "claude-mock"])
@pytest.mark.parametrize("rules", [PRIVATE, PUBLIC])
async def test_a_guarded_transport_decides_where_requests_go(model: str, rules: OutboundRules):
    async with serve() as server:
        found = await probe(
            credentials(server.url),
            model,
            clock=StillClock(),
            transport=lambda: GuardedTransport(rules, OutboundLimits()),
        )
        assert found.ok is rules.allow_private
        assert server.bill().requests == int(rules.allow_private)
    if not rules.allow_private:
        assert isinstance(found.error, UrlRefused)


async def test_groqs_older_client_is_guarded_like_the_others():
    async with serve() as server:
        found = await probe(
            credentials(server.url, kind="groq"),
            "m",
            clock=StillClock(),
            transport=lambda: GuardedTransport(PUBLIC, OutboundLimits()),
        )
    assert isinstance(found.error, UrlRefused)
