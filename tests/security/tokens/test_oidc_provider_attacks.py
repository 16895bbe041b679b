"""Providers that attack us, or whose answers are bent on the way: slow, huge, leading elsewhere, or not what they say.

Over real HTTP, with the honest way beside each. Sources: OpenID Connect Discovery 1.0, RFC 7517, RFC 9700.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from domain.accounts.fake_identity_provider import RSA_KEY, Claims
from domain.accounts.forged_tokens import token
from domain.accounts.sso_ground import Journey, journey, refused, sso_app
from shopfloor.base.clock import SystemClock
from shopfloor.domain.accounts.oidc_client import IdentityClient
from shopfloor.infra.outbound import OutboundLimits

pytestmark = pytest.mark.asyncio(loop_scope="module")


BAD_KEYS = {
    "none": b'{"keys": []}',
    "no JSON": b"<html>",
    "NaN": b'{"keys": NaN}',
    "a list": b"[]",
    "deep": b'{"keys": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "huge": b'{"keys": [' + b'{"kty":"RSA","n":"AAAA","e":"AQAB"},' * 30_000 + b"{}]}",
    "too many": json.dumps({"keys": [RSA_KEY.as_dict(private=False)] * 100}).encode(),
    "weak": json.dumps({"keys": [RSAKey.generate_key(1024, {"kid": "fake-rsa"}).as_dict(private=False)]}).encode(),
}


@pytest.mark.parametrize("jwks", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_keys_that_can_not_be_used_sign_nobody_in(sso, provider, jwks: bytes):
    way = await journey(sso, provider)
    provider.jwks = jwks
    await refused(way, await way.whole(), code="identity-provider-away", status=503)
    provider.jwks = None  # what failed is not kept
    assert (await way.whole()).status_code == 303


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks", "/token"])
async def test_a_provider_that_answers_slowly_is_given_up(here, provider, path: str):
    limits = OutboundLimits(connect_s=1, read_s=0.3, total_s=0.5)
    hasty = sso_app(here, IdentityClient(SystemClock(), allow_private=True, limits=limits))
    way = await journey(hasty, provider)
    provider.slow = {path}
    if path.startswith("/.well"):
        answer = await way.start()
    else:
        answer = await way.whole()
    await refused(way, answer, code="identity-provider-away", status=503)
    provider.hold.set()
    assert (await way.whole()).status_code == 303


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data", "http://metadata.google.internal.:80/x", "file:///etc/passwd",
    "ftp://127.0.0.1/x", "http://user:password@127.0.0.1/token", "http://0/token", "http://2130706433/token",
    "http://[::ffff:169.254.169.254]/x", "gopher://127.0.0.1:25/x", "", "/token", 7, None,
]  # fmt: skip


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("url", ELSEWHERE, ids=str)
async def test_a_description_leads_nowhere_it_should_not(sso, provider, name: str, url: Any):
    provider.change_description = lambda found: found | {name: url}
    way = await journey(sso, provider)
    started = await way.start()
    answer = started if started.status_code != 303 else await way.back(await way.agree(started.headers["location"]))
    await refused(way, answer, code="identity-provider-away", status=503)
    assert "169.254" not in answer.text


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///x", "//attacker.example", "https://a.example/#x", None]
)
async def test_a_browser_is_sent_to_http_addresses_alone(sso, provider, url: Any):
    provider.change_description = lambda found: found | {"authorization_endpoint": url}
    way = await journey(sso, provider)
    await refused(way, await way.start(), code="identity-provider-away", status=503)


async def test_without_the_setting_no_private_address_is_reached(here, provider):
    """The positive control is every other test: with the setting the same provider works."""
    strict = sso_app(here, IdentityClient(SystemClock()))
    way = await journey(strict, provider)
    answer = await way.start()
    await refused(way, answer, code="identity-provider-away", status=503)
    assert provider.asked == []


def _with(**claims: Any) -> Callable[[Claims], Claims]:
    return lambda made: made | claims


DESCRIPTIONS: dict[str, Callable[[Claims], Claims]] = {
    "another issuer": _with(issuer="https://attacker.example"),
    "issuer with a slash": lambda found: found | {"issuer": found["issuer"] + "/"},
    "no issuer": _with(issuer=None),
    "only HS256": _with(id_token_signing_alg_values_supported=["HS256", "none"]),
    "no algorithms": _with(id_token_signing_alg_values_supported=None),
}


@pytest.mark.parametrize("change", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
async def test_a_description_that_does_not_fit_begins_nothing(sso, provider, change):
    provider.change_description = change
    way = await journey(sso, provider)
    await refused(way, await way.start(), code="identity-provider-away", status=503)


async def test_a_redirect_of_the_provider_is_not_followed(sso, provider):
    provider.token_answer = (302, b"{}")
    way = await journey(sso, provider)
    await refused(way, await way.whole(), code="identity-provider-away", status=503)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"id_token": 7}', b'{"id_token": null}', b"x" * 2_000_000, b'{"id_token": "\\ud800"}']
)
async def test_a_token_answer_that_is_none_signs_nobody_in(sso, provider, body: bytes):
    provider.token_answer = (200, body)
    way = await journey(sso, provider)
    await refused(way, await way.whole(), code="identity-provider-away", status=503)


async def test_the_client_secret_stays_with_the_provider(sso, provider, caplog, capsys):
    provider.token_answer = (500, json.dumps({"error": provider.client_secret}).encode())
    way = await journey(sso, provider)
    answer = await way.whole()
    assert answer.status_code == 503
    assert provider.client_secret not in answer.text + caplog.text + capsys.readouterr().out


async def test_keys_are_asked_for_again_once_a_minute_at_most(sso, provider):
    """Tokens with made-up key names don't make us hammer a provider."""
    way = await journey(sso, provider)
    assert (await way.whole()).status_code == 303
    provider.sign = lambda _, claims: token(claims, kid="unknown")
    for _ in range(3):
        other = Journey(sso.browser(), way.provider_id)
        await refused(other, await other.whole())
    assert provider.asked.count("/jwks") == 1
