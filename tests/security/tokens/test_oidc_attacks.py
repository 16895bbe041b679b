"""Attacks on single sign-on, over real HTTP against a strict provider: each fails, and beside it the honest way works.

Sources: RFC 9700 (OAuth 2.0 security), RFC 9207 (mix-up), RFC 8725 (JWT), OpenID Connect Core 1.0.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from domain.accounts.fake_identity_provider import RSA_KEY, Claims, honest
from domain.accounts.forged_tokens import (
    by_hand,
    changed,
    cut,
    token,
    unsigned,
    with_own_key_in_the_header,
    with_public_key_as_secret,
)
from domain.accounts.sso_ground import DOMAIN, REDIRECT_URI, Journey, Sso, fake_provider, journey, refused
from shopfloor.base.ids import new_id
from shopfloor.infra.tx import begin, begin_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

Query = dict[str, str]


async def people_of(sso: Sso) -> int:
    async with begin_system(sso.ground.store) as tx:
        row = await tx.one("select count(*) as people from users")
    assert row is not None
    return row["people"]


async def test_the_honest_way_signs_in(sso, provider):
    """The positive control of all that follows."""
    way = await journey(sso, provider)
    answer = await way.whole(return_to="/jobs?state=open")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?state=open"), answer.text
    me = await way.me()
    assert me is not None
    assert (me["kind"], me["name"]) == ("user", "Dev")
    assert provider.complaints == []


STATES: dict[str, Callable[[Query], Query | list[tuple[str, str]]]] = {
    "missing": lambda query: {name: value for name, value in query.items() if name != "state"},
    "empty": lambda query: query | {"state": ""},
    "forged": lambda query: query | {"state": "A" * 43},
    "changed": lambda query: query | {"state": query["state"][:-1] + ("A" if query["state"][-1] != "A" else "B")},
    "long": lambda query: query | {"state": "A" * 5_000},
    "odd signs": lambda query: query | {"state": "' or 1=1 -- "},
    "nul": lambda query: query | {"state": query["state"] + "\x00"},
    "twice": lambda query: [*query.items(), ("state", query["state"])],
    "another after it": lambda query: [*query.items(), ("state", "A" * 43)],
    "code twice": lambda query: [*query.items(), ("code", "another")],
    "many parameters": lambda query: [*query.items(), *((f"p{number}", "x") for number in range(30))],
}


@pytest.mark.parametrize("bend", STATES.values(), ids=STATES)
async def test_an_answer_with_another_state_is_refused(sso, provider, bend):
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    answer = await way.back(bend(query))
    if answer.status_code != 422:  # a control character is refused before anybody reads it
        await refused(way, answer)
    assert await way.me() is None
    assert "/token" not in provider.asked  # the code was not even tried


async def test_a_state_is_good_once(sso, provider):
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    assert (await way.back(query)).status_code == 303
    way.browser.http.cookies.delete("shopfloor")
    await refused(way, await way.back(query))


async def test_a_state_is_used_up_by_a_try_that_fails(sso, provider):
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    await refused(way, await way.back(query | {"code": "made-up"}))
    await refused(way, await way.back(query))


async def test_another_browser_can_not_bring_the_answer(sso, provider):
    """Login CSRF: the victim's browser is made to finish what the attacker began."""
    attacker = await journey(sso, provider)
    query = await attacker.agree((await attacker.start()).headers["location"])
    victim = Journey(sso.browser(), attacker.provider_id)
    await refused(victim, await victim.back(query))
    assert "/token" not in provider.asked


async def test_a_browser_that_began_its_own_can_not_bring_anothers_answer(sso, provider):
    attacker = await journey(sso, provider)
    query = await attacker.agree((await attacker.start()).headers["location"])
    victim = Journey(sso.browser(), attacker.provider_id)
    await victim.start()
    await refused(victim, await victim.back(query))


async def test_a_stolen_code_in_the_victims_own_flow_is_refused(sso, provider):
    """Code injection: PKCE binds a code to the flow that it was made for. RFC 9700, 4.5."""
    attacker = await journey(sso, provider)
    stolen = await attacker.agree((await attacker.start()).headers["location"])
    victim = Journey(sso.browser(), attacker.provider_id)
    query = await victim.agree((await victim.start()).headers["location"])
    await refused(victim, await victim.back(query | {"code": stolen["code"]}))
    assert provider.complaints == ["invalid_grant"]


async def test_a_code_is_good_once(sso, provider):
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    assert (await way.back(query)).status_code == 303
    other = Journey(sso.browser(), way.provider_id)
    again = await other.agree((await other.start()).headers["location"])
    await refused(other, await other.back(again | {"code": query["code"]}))


async def test_a_flow_that_took_too_long_is_refused(sso, provider):
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    async with begin(sso.ground.store, sso.ground.people.owner) as tx:
        await tx.execute("update oidc_flows set ends_at = now() - interval '1 second'")
    await refused(way, await way.back(query))


@pytest.mark.parametrize("issuer", [None, "", "https://attacker.example", "http://127.0.0.1", "upper"])
async def test_an_answer_of_another_issuer_is_refused(sso, provider, issuer: str | None):
    """Mix-up: the code goes to nobody."""
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    query.pop("iss")
    if issuer is not None:
        query["iss"] = provider.issuer.upper() if issuer == "upper" else issuer
    await refused(way, await way.back(query))
    assert "/token" not in provider.asked


async def test_two_providers_can_not_be_mixed_up(sso, provider):
    """The browser began with an honest provider; the answer comes from one that the attacker runs."""
    with fake_provider() as bad:
        bad.redirect_uris.add(REDIRECT_URI)
        way = await journey(sso, provider)
        started = await way.start()
        query = await way.agree(started.headers["location"].replace(provider.issuer, bad.issuer))
        await refused(way, await way.back(query))
    assert "/token" not in bad.asked
    assert "/token" not in provider.asked


async def test_a_provider_that_does_not_name_itself_works_until_somebody_else_does(sso):
    with fake_provider(answers_with_issuer=False) as plain:
        way = await journey(sso, plain)
        assert (await way.whole()).status_code == 303
        other = Journey(sso.browser(), way.provider_id)
        query = await other.agree((await other.start()).headers["location"])
        await refused(other, await other.back(query | {"iss": "https://attacker.example"}))


ERRORS = ["access_denied", "server_error", "<script>alert(1)</script>", "x" * 5_000]


@pytest.mark.parametrize("error", ERRORS, ids=lambda text: text[:20])
async def test_an_error_of_the_provider_signs_nobody_in_and_is_not_told_on(sso, provider, error: str):
    way = await journey(sso, provider)
    query = await way.agree((await way.start()).headers["location"])
    answer = await way.back({"error": error, "state": query["state"], "iss": provider.issuer})
    await refused(way, answer)
    assert error not in answer.text


def _with(**claims: Any) -> Callable[[Claims], Claims]:
    return lambda made: made | claims


def _now(seconds: int) -> int:
    return int(time.time()) + seconds


CLAIMS: dict[str, Callable[[Claims], Claims]] = {
    "nonce of another flow": _with(nonce="A" * 43),
    "no nonce": lambda made: {name: value for name, value in made.items() if name != "nonce"},
    "another issuer": _with(iss="https://attacker.example"),
    "issuer with a slash": lambda made: made | {"iss": made["iss"] + "/"},
    "another audience": _with(aud="another-client"),
    "no audience": _with(aud=[]),
    "two audiences, no azp": _with(aud=["shopfloor", "another-client"]),
    "authorized for another": _with(azp="another-client"),
    "over": _with(exp=_now(-120)),
    "no end": lambda made: {name: value for name, value in made.items() if name != "exp"},
    "made long ago": _with(iat=_now(-3_600)),
    "made in the future": _with(iat=_now(3_600)),
    "not yet": _with(nbf=_now(3_600)),
    "no subject": _with(sub=""),
    "subject is a list": _with(sub=["1", "2"]),
}


@pytest.mark.parametrize("change", CLAIMS.values(), ids=CLAIMS)
async def test_a_token_that_says_something_else_signs_nobody_in(sso, provider, change):
    way = await journey(sso, provider)
    provider.change_claims = change
    await refused(way, await way.whole())


SIGNATURES: dict[str, Callable[[Claims], str]] = {
    "alg none": unsigned,
    "alg none in capitals": lambda claims: by_hand({"alg": "NONE", "kid": RSA_KEY.kid}, claims),
    "HS256 with the public key as secret": with_public_key_as_secret,
    "HS256 with the client secret": lambda claims: by_hand({"alg": "HS256"}, claims, b"fake-client-secret-0123"),
    "a key in the header": with_own_key_in_the_header,
    "jku": lambda claims: token(claims, jku="https://attacker.example/jwks"),
    "x5u": lambda claims: token(claims, x5u="https://attacker.example/cert"),
    "kid is a path": lambda claims: token(claims, kid="../../../dev/null"),
    "kid is SQL": lambda claims: token(claims, kid="' union select 1 --"),
    "another key of that name": lambda claims: token(claims, key=RSAKey.generate_key(2048, {"kid": "fake-rsa"})),
    "no signature": cut,
    "changed": changed,
    "no token": lambda _: "",
    "half a token": lambda _: "eyJhbGciOiJSUzI1NiJ9.e30",
    "huge": lambda claims: token(claims | {"filler": "x" * 60_000}),
}


@pytest.mark.parametrize("forge", SIGNATURES.values(), ids=SIGNATURES)
async def test_a_forged_token_signs_nobody_in(sso, provider, forge):
    way = await journey(sso, provider)
    provider.sign = lambda _, claims: forge(claims)
    await refused(way, await way.whole())


async def test_a_secret_key_among_the_public_ones_is_not_used(sso, provider):
    secret = OctKey.generate_key(256, {"kid": "shared"})
    keys = {"keys": [secret.as_dict(), RSA_KEY.as_dict(private=False)]}
    provider.jwks = json.dumps(keys).encode()
    way = await journey(sso, provider)
    raw = secret.raw_value
    provider.sign = lambda _, claims: by_hand({"alg": "HS256", "kid": "shared"}, claims, raw)
    await refused(way, await way.whole())
    provider.sign = honest
    assert (await way.whole()).status_code == 303


PEOPLE: dict[str, Claims] = {
    "address not verified": {"email_verified": False},
    "verified as a text": {"email_verified": "true"},
    "verified as a number": {"email_verified": 1},
    "no word about it": {"email_verified": None},
    "no address": {"email": None},
    "foreign domain": {"email": "dev@attacker.example"},
    "a domain below": {"email": f"dev@mail.{DOMAIN}"},
    "a domain that ends alike": {"email": f"dev@not{DOMAIN}"},
    "two at signs": {"email": f"dev@attacker.example@{DOMAIN}"},
    "two addresses": {"email": f"dev@attacker.example,dev@{DOMAIN}"},
    "a list of addresses": {"email": [f"dev@{DOMAIN}"]},
    "a dot behind": {"email": f"dev@{DOMAIN}."},
    "a look-alike": {"email": "dev@еxample.org"},
    "a line break": {"email": f"dev@attacker.example\n@{DOMAIN}"},
}


@pytest.mark.parametrize("person", PEOPLE.values(), ids=PEOPLE)
async def test_who_has_no_verified_address_of_a_proved_domain_gets_no_account(sso, provider, person: Claims):
    provider.person |= person
    way = await journey(sso, provider)
    before = await people_of(sso)
    await refused(way, await way.whole(), code="identity-not-welcome", status=403)
    assert await people_of(sso) == before


async def test_no_account_is_made_where_the_provider_makes_none(sso, provider):
    way = await journey(sso, provider, makes_accounts=False)
    await refused(way, await way.whole(), code="identity-not-welcome", status=403)


async def test_an_address_alone_takes_no_account_over(sso, provider):
    """Account pre-hijacking, and a provider whose users choose their address."""
    victim = await sso.ground.people.new(email=provider.person["email"])
    way = await journey(sso, provider)
    await refused(way, await way.whole(), code="identity-not-welcome", status=403)
    async with begin_system(sso.ground.store) as tx:
        assert await tx.all("select id from identities where user_id = %s", (victim.id,)) == []


async def test_a_subject_of_one_provider_is_nobody_at_another(sso, provider):
    way = await journey(sso, provider)
    assert (await way.whole()).status_code == 303
    with fake_provider() as other:
        other.person = dict(provider.person)
        stolen = await journey(sso, other)
        await refused(stolen, await stolen.whole(), code="identity-not-welcome", status=403)


async def test_a_disabled_person_does_not_come_back_by_the_provider(sso, provider):
    way = await journey(sso, provider)
    await way.whole()
    me = await way.me()
    assert me is not None
    async with begin(sso.ground.store, sso.ground.people.owner) as tx:
        await tx.execute("update users set disabled_at = now() where id = %s", (me["id"],))
    again = Journey(sso.browser(), way.provider_id)
    await refused(again, await again.whole(), code="sign-in-refused")


async def test_a_provider_that_is_switched_off_is_as_one_that_is_not_there(sso, provider):
    way = await journey(sso, provider, enabled=False)
    off = await way.start()
    nowhere = await Journey(sso.browser(), new_id()).start()
    assert [(each.status_code, each.json()["code"]) for each in (off, nowhere)] == [
        (404, "identity-provider-unknown")
    ] * 2


RETURNS = [
    "https://attacker.example", "//attacker.example", "///attacker.example", "/\\attacker.example",
    "\\\\attacker.example", "/\t/attacker.example", "/\n/attacker.example", "/ /attacker.example",
    "javascript:alert(1)", "data:text/html,x", "jobs", "", " /jobs", "/jobs//attacker.example",
    "/jobs\r\nSet-Cookie: a=b", "/jobs\x00",
    "http:/attacker.example", "/" + "a" * 600, "/ünsafe", "@attacker.example", ".attacker.example",
]  # fmt: skip


@pytest.mark.parametrize("path", RETURNS, ids=repr)
async def test_nobody_is_sent_to_another_site_after_signing_in(sso, provider, path: str):
    way = await journey(sso, provider)
    answer = await way.start(return_to=path)
    assert answer.status_code == 422
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/1?tab=diff&next=//x#top", "/a%2f%2fb"])
async def test_paths_of_this_site_are_fine(sso, provider, path: str):
    way = await journey(sso, provider)
    assert (await way.whole(return_to=path)).headers["location"] == path


async def test_the_provider_is_never_sent_where_the_request_says(sso, provider):
    """One redirect URI of ours, whatever the browser adds."""
    way = await journey(sso, provider)
    bent = {"redirect_uri": "https://attacker.example", "client_id": "another", "scope": "all", "prompt": "x"}
    for name, value in bent.items():
        assert (await way.start(**{name: value})).status_code == 422
    query = await way.agree((await way.start()).headers["location"])
    assert (await way.back(query)).status_code == 303


async def test_the_session_is_a_new_one_and_the_flows_cookie_signs_nobody_in(sso, provider):
    """Session fixation."""
    way = await journey(sso, provider)
    await way.start()
    flow = way.browser.http.cookies["shopfloor-browser"]
    way.browser.http.cookies.set("shopfloor", flow, domain="127.0.0.1")
    assert await way.me() is None
    way.browser.http.cookies.delete("shopfloor")
    await way.whole()
    assert way.browser.http.cookies["shopfloor"] != flow
    assert await way.me() is not None


async def test_what_the_database_keeps_of_a_flow_begins_nothing(sso, provider):
    way = await journey(sso, provider)
    started = await way.start()
    query = await way.agree(started.headers["location"])
    async with begin_system(sso.ground.store) as tx:
        rows = [dict(row) for row in await tx.all("select * from oidc_flows")]
    secrets = [query["state"], way.browser.http.cookies["shopfloor-browser"]]
    assert rows
    assert not any(secret in repr(rows) for secret in secrets)
