"""Identity providers, proved domains and linked identities over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pyotp
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from domain.accounts.fake_identity_provider import FakeIdentityProvider
from domain.accounts.moving_clock import MovingClock
from domain.accounts.sso_ground import REDIRECT_URI, Journey, fake_provider
from shopfloor.base.ids import new_id
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.accounts import oidc_domains
from shopfloor.domain.accounts.desk import IdentityParts
from shopfloor.infra.tx import Store, begin, begin_system

PROVIDERS = "/api/v1/identity-providers"
DOMAINS = "/api/v1/verified-domains"


class FakeNames:
    """A fake name service: name -> the texts of its TXT records."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}

    async def __call__(self, name: str) -> list[str]:
        return self.texts.get(name, [])


@pytest.fixture
def names(app) -> FakeNames:
    state, names = app.state.shopfloor, FakeNames()
    app.state.shopfloor = replace(state, identity=IdentityParts(state.identity.client, names))
    return names


@pytest.fixture
def provider() -> Iterator[FakeIdentityProvider]:
    with fake_provider() as opened:
        opened.redirect_uris.add(REDIRECT_URI)
        yield opened


@pytest.fixture
async def admin(clients, owner) -> httpx2.AsyncClient:
    return await clients.with_key(owner.organization_id, ROLES["admin"], role="admin")


def new_provider(provider: FakeIdentityProvider, **change: Any) -> dict[str, Any]:
    return {
        "name": "corp", "issuer": provider.issuer, "client_id": provider.client_id,
        "client_secret": provider.client_secret, "makes_accounts": True,
    } | change  # fmt: skip


async def add(client, provider: FakeIdentityProvider, **change: Any) -> dict[str, Any]:
    answer = await client.post(PROVIDERS, json=new_provider(provider, **change))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def prove(client, names: FakeNames, domain: str = "example.org") -> dict[str, Any]:
    made = (await client.post(DOMAINS, json={"domain": domain})).json()
    names.texts[made["record_name"]] = ["v=spf1 -all", made["record_text"]]
    answer = await client.post(f"{DOMAINS}/{made['id']}/verify")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_provider_lives_from_post_to_delete(client, provider):
    made = await client.post(PROVIDERS, json=new_provider(provider))
    assert made.status_code == 201, made.text
    body = made.json()
    assert made.headers["location"] == f"{PROVIDERS}/{body['id']}"
    assert {name: body[name] for name in ("name", "issuer", "has_secret", "scopes", "default_role", "enabled")} == {
        "name": "corp", "issuer": provider.issuer, "has_secret": True, "scopes": ["openid", "email", "profile"],
        "default_role": "viewer", "enabled": True,
    }  # fmt: skip
    assert body["start_url"] == f"/api/v1/auth/oidc/{body['id']}/start"
    assert (await client.get(PROVIDERS)).json() == {"items": [body], "next_cursor": None}
    assert (await client.get(f"{PROVIDERS}/{body['id']}")).json() == body
    changed = await client.patch(f"{PROVIDERS}/{body['id']}", json={"enabled": False}, headers={"If-Match": '"1"'})
    assert changed.json() == body | {"enabled": False, "version": 2, "updated_at": changed.json()["updated_at"]}
    late = await client.patch(f"{PROVIDERS}/{body['id']}", json={"enabled": True}, headers={"If-Match": '"1"'})
    assert late.status_code == 412
    assert (await client.delete(f"{PROVIDERS}/{body['id']}")).status_code == 204
    assert (await client.get(f"{PROVIDERS}/{body['id']}")).status_code == 404


async def test_the_client_secret_goes_in_and_never_out(client, provider, store: Store):
    body = await add(client, provider)
    for answer in (await client.get(PROVIDERS), await client.get(f"{PROVIDERS}/{body['id']}")):
        assert provider.client_secret not in answer.text
    async with begin_system(store) as tx:
        rows = await tx.all("select * from identity_providers")
    assert provider.client_secret not in repr(rows)


async def test_a_provider_is_tried_before_anybody_depends_on_it(client, provider):
    body = await add(client, provider)
    found = await client.post(f"{PROVIDERS}/{body['id']}/test")
    assert found.status_code == 200, found.text
    assert found.json() == {
        "issuer": provider.issuer, "authorization_endpoint": f"{provider.issuer}/authorize",
        "token_endpoint": f"{provider.issuer}/token", "algorithms": ["RS256", "ES256", "EdDSA"], "keys": 3,
        "answers_with_issuer": True, "redirect_uri": REDIRECT_URI,
    }  # fmt: skip
    provider.change_description = lambda made: made | {"issuer": "https://another.example"}
    wrong = await client.post(f"{PROVIDERS}/{body['id']}/test")
    assert (wrong.status_code, wrong.json()["code"]) == (503, "identity-provider-away")
    assert "calls itself 'https://another.example'" in wrong.json()["detail"]


async def test_a_new_issuer_never_gets_the_old_secret(client, provider):
    body = await add(client, provider)
    with fake_provider() as other:
        changed = await client.patch(f"{PROVIDERS}/{body['id']}", json={"issuer": other.issuer})
        assert (changed.json()["issuer"], changed.json()["has_secret"]) == (other.issuer, False)
    both = {"issuer": provider.issuer, "client_secret": provider.client_secret}
    assert (await client.patch(f"{PROVIDERS}/{body['id']}", json=both)).json()["has_secret"] is True


@pytest.mark.parametrize(
    "bad",
    [
        {"issuer": "https://169.254.169.254"}, {"issuer": "file:///etc/passwd"}, {"issuer": "https://user:pw@example.org"},
        {"issuer": "https://id.example.org?x=1"}, {"issuer": "https://id.example.org#x"}, {"scopes": ["email"]},
        {"scopes": []}, {"name": "Not A Name"}, {"client_id": ""}, {"default_role": "owner"}, {"unknown": 1},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_provider_is_refused(client, provider, bad: dict[str, Any]):
    assert (await client.post(PROVIDERS, json=new_provider(provider, **bad))).status_code == 422
    assert (await client.get(PROVIDERS)).json()["items"] == []


async def test_a_taken_name_is_a_conflict(client, provider):
    await add(client, provider)
    again = await client.post(PROVIDERS, json=new_provider(provider))
    assert (again.status_code, again.json()["code"]) == (409, "identity-provider-name-taken")


async def test_only_an_owner_lets_a_provider_make_more_than_developers(client, admin, provider):
    for role in ("viewer", "developer"):
        await add(admin, provider, name=role, default_role=role)
    for role in ("manager", "admin", "auditor"):
        refused = await admin.post(PROVIDERS, json=new_provider(provider, name=role, default_role=role))
        assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
        made = await add(client, provider, name=role, default_role=role)
        untouched = await admin.patch(f"{PROVIDERS}/{made['id']}", json={"default_role": role, "enabled": False})
        assert untouched.status_code == 200  # what an owner set stays
    low = await add(admin, provider, name="low")
    assert (await admin.patch(f"{PROVIDERS}/{low['id']}", json={"default_role": "manager"})).status_code == 403


async def test_neither_viewers_nor_strangers_see_providers_and_domains(client, viewer, stranger, provider, names):
    body, domain = await add(client, provider), await prove(client, names)
    for path in (PROVIDERS, DOMAINS, f"{PROVIDERS}/{body['id']}"):
        assert (await viewer.get(path)).status_code == 403
    for method, path in (
        ("GET", f"{PROVIDERS}/{body['id']}"), ("PATCH", f"{PROVIDERS}/{body['id']}"),
        ("DELETE", f"{PROVIDERS}/{body['id']}"), ("POST", f"{PROVIDERS}/{body['id']}/test"),
        ("POST", f"{DOMAINS}/{domain['id']}/verify"), ("DELETE", f"{DOMAINS}/{domain['id']}"),
    ):  # fmt: skip
        answer = await stranger.request(method, path, json={} if method == "PATCH" else None)
        assert answer.status_code == 404, (method, path)
    assert (await stranger.get(PROVIDERS)).json()["items"] == (await stranger.get(DOMAINS)).json()["items"] == []


async def test_a_domain_is_proved_by_its_record_and_not_before(client, names):
    made = await client.post(DOMAINS, json={"domain": " Example.ORG. "})
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["domain"], body["verified_at"]) == ("example.org", None)
    assert body["record_name"] == "_shopfloor-challenge.example.org"
    assert body["record_text"].startswith("shopfloor-domain=")
    early = await client.post(f"{DOMAINS}/{body['id']}/verify")
    assert (early.status_code, early.json()["code"]) == (409, "domain-not-proved")
    names.texts[body["record_name"]] = ["shopfloor-domain=another", body["record_text"] + "x"]
    assert (await client.post(f"{DOMAINS}/{body['id']}/verify")).status_code == 409
    names.texts[body["record_name"]].append(body["record_text"])
    proved = await client.post(f"{DOMAINS}/{body['id']}/verify")
    assert (proved.json()["verified_by"], proved.json()["verified_at"] is not None) == ("dns", True)
    assert (await client.post(DOMAINS, json={"domain": "example.org"})).json()["code"] == "domain-there"
    assert (await client.delete(f"{DOMAINS}/{body['id']}")).status_code == 204
    assert (await client.get(DOMAINS)).json()["items"] == []


@pytest.mark.parametrize("domain", ["localhost", "exa mple.org", "example.org/x", "*.example.org", "-a.org", "1.2.3.4"])
async def test_what_is_no_domain_is_refused(client, domain: str):
    assert (await client.post(DOMAINS, json={"domain": domain})).status_code == 422


async def test_each_organization_proves_a_domain_by_a_text_of_its_own(client, stranger, names):
    mine = await prove(client, names)
    theirs = (await stranger.post(DOMAINS, json={"domain": "example.org"})).json()
    assert theirs["record_text"] != mine["record_text"]
    assert (await stranger.post(f"{DOMAINS}/{theirs['id']}/verify")).status_code == 409


async def test_the_operator_says_so_on_the_machine(store: Store, owner):
    async with begin(store, owner) as tx:
        domain = await oidc_domains.prove_by_operator(tx, "Example.org")
        again = await oidc_domains.prove_by_operator(tx, "example.org")
    assert (domain.domain, domain.verified_by, again.id) == ("example.org", "operator", domain.id)


async def test_the_first_sign_in_makes_an_account_with_the_default_role(
    client, browsers, provider, names, store: Store
):
    await prove(client, names)
    body = await add(client, provider, default_role="developer")
    provider.person |= {"name": "  Dev \t Eloper ", "email": provider.person["email"].upper()}
    way = Journey(browsers.new(), body["id"])
    assert (await way.whole()).status_code == 303
    me = await way.me()
    assert me is not None
    async with begin_system(store) as tx:
        row = await tx.one("select email, name, role, password_hash from users where id = %s", (me["id"],))
    assert row == {
        "email": provider.person["email"].lower(), "name": "Dev Eloper", "role": "developer", "password_hash": None,
    }  # fmt: skip
    again = Journey(browsers.new(), body["id"])
    provider.person["email"] = "new-name@elsewhere.example"  # an address changes; issuer and subject don't
    await again.whole()
    assert ((await again.me()) or {})["id"] == me["id"]


async def test_an_identity_is_linked_by_who_is_signed_in(client, people, browsers, provider):
    body = await add(client, provider, makes_accounts=False)
    person = await people.new(email=provider.person["email"])
    browser = browsers.new()
    await browser.sign_in(provider.person["email"])
    begun = await browser.post("/api/v1/me/identities", json={"identity_provider_id": body["id"], "return_to": "/me"})
    assert begun.status_code == 200, begun.text
    way = Journey(browser, body["id"])
    back = await way.back(await way.agree(begun.json()["url"]))
    assert (back.status_code, back.headers["location"]) == (303, "/me"), back.text
    [identity] = (await browser.get("/api/v1/me/identities")).json()["items"]
    assert (identity["subject"], identity["issuer"]) == (provider.person["sub"], provider.issuer)
    fresh = Journey(browsers.new(), body["id"])
    assert (await fresh.whole()).status_code == 303
    assert ((await fresh.me()) or {})["id"] == str(person.id)
    gone = await browser.send("DELETE", f"/api/v1/me/identities/{identity['id']}")
    assert gone.status_code == 204
    assert (await Journey(browsers.new(), body["id"]).whole()).status_code == 403


async def test_a_link_that_another_browser_began_links_nothing(client, people, browsers, provider):
    """The attacker's identity on the victim's account."""
    body = await add(client, provider)
    attacker, victim = browsers.new(), browsers.new()
    for browser in (attacker, victim):
        await browser.sign_in(await people.email(await people.new()))
    begun = await attacker.post("/api/v1/me/identities", json={"identity_provider_id": body["id"]})
    query = await Journey(attacker, body["id"]).agree(begun.json()["url"])
    assert (await Journey(victim, body["id"]).back(query)).status_code == 401
    assert (await victim.get("/api/v1/me/identities")).json()["items"] == []


async def test_who_signed_out_meanwhile_links_nothing(client, people, browsers, provider):
    body = await add(client, provider)
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new()))
    begun = await browser.post("/api/v1/me/identities", json={"identity_provider_id": body["id"]})
    way = Journey(browser, body["id"])
    query = await way.agree(begun.json()["url"])
    await browser.post("/api/v1/auth/sign-out")
    assert (await way.back(query)).json()["code"] == "identity-not-welcome"


async def test_an_identity_belongs_to_one_account(client, people, browsers, provider):
    body = await add(client, provider)
    answers = []
    for _ in range(2):
        browser = browsers.new()
        await browser.sign_in(await people.email(await people.new()))
        begun = await browser.post("/api/v1/me/identities", json={"identity_provider_id": body["id"]})
        way = Journey(browser, body["id"])
        answers.append(await way.back(await way.agree(begun.json()["url"])))
    assert [answer.status_code for answer in answers] == [303, 409]
    assert answers[1].json()["code"] == "identity-taken"


async def test_a_key_links_nothing_and_nobody_links_to_a_foreign_provider(client, stranger, people, browsers, provider):
    foreign = await add(stranger, provider)
    by_key = await client.post("/api/v1/me/identities", json={"identity_provider_id": foreign["id"]})
    assert by_key.json()["code"] == "fresh-sign-in-needed"
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new()))
    for provider_id in (foreign["id"], str(new_id())):
        answer = await browser.post("/api/v1/me/identities", json={"identity_provider_id": provider_id})
        assert answer.json()["code"] == "identity-provider-unknown"


async def test_the_policy_may_let_a_verified_address_take_its_account(client, people, browsers, provider, names):
    await prove(client, names)
    body = await add(client, provider, makes_accounts=False)
    person = await people.new(email=provider.person["email"])
    assert (await Journey(browsers.new(), body["id"]).whole()).status_code == 403
    await client.put("/api/v1/organizations/current/sign-in-policy", json={"link_by_verified_domain": True})
    way = Journey(browsers.new(), body["id"])
    assert (await way.whole()).status_code == 303
    assert ((await way.me()) or {})["id"] == str(person.id)


async def test_the_last_way_in_stays(client, browsers, provider, names):
    await prove(client, names)
    body = await add(client, provider)
    way = Journey(browsers.new(), body["id"])
    await way.whole()
    way.browser.csrf = (await way.browser.get("/api/v1/auth/csrf")).json()["csrf_token"]
    [identity] = (await way.browser.get("/api/v1/me/identities")).json()["items"]
    kept = await way.browser.send("DELETE", f"/api/v1/me/identities/{identity['id']}")
    assert (kept.status_code, kept.json()["code"]) == (409, "last-way-in-kept")


@pytest.mark.parametrize(
    ("counts", "methods", "restricted"),
    [(True, ["pwd", "mfa"], False), (True, ["pwd"], True), (True, "mfa", True), (False, ["mfa"], True)],
)
async def test_a_provider_stands_for_the_second_factor_where_it_is_trusted_to(
    client, browsers, provider, names, counts: bool, methods: Any, restricted: bool
):
    await prove(client, names)
    await client.put("/api/v1/organizations/current/sign-in-policy", json={"mfa_required": True})
    body = await add(client, provider, counts_as_second_factor=counts)
    provider.person["amr"] = methods
    way = Journey(browsers.new(), body["id"])
    assert (await way.whole()).status_code == 303
    answer = await way.browser.get("/api/v1/projects")
    assert answer.status_code == (403 if restricted else 200)


async def test_who_has_a_second_factor_is_asked_for_it_after_the_provider(client, browsers, provider, names):
    await prove(client, names)
    body = await add(client, provider)
    way = Journey(browsers.new(), body["id"])
    await way.whole()
    way.browser.csrf = (await way.browser.get("/api/v1/auth/csrf")).json()["csrf_token"]
    secret = (await way.browser.post("/api/v1/me/factors/totp")).json()["secret"]
    confirmed = await way.browser.post("/api/v1/me/factors/totp/confirm", json={"code": pyotp.TOTP(secret).now()})
    code = confirmed.json()["recovery_codes"][0]
    again = Journey(browsers.new(), body["id"])
    answer = await again.whole(return_to="/jobs?a=b")
    path, _, fragment = answer.headers["location"].partition("#")
    assert path == "/sign-in?return_to=%2Fjobs%3Fa%3Db"
    assert await again.me() is None
    asked = dict(each.split("=") for each in fragment.split("&"))
    proof = {"challenge": asked["challenge"], "kind": "recovery", "code": code}
    assert (await again.browser.post("/api/v1/auth/second-factor", json=proof)).status_code == 200
    assert await again.me() is not None


async def test_a_provider_that_is_removed_takes_its_identities_along(client, browsers, provider, names, store: Store):
    await prove(client, names)
    body = await add(client, provider)
    await Journey(browsers.new(), body["id"]).whole()
    assert (await client.delete(f"{PROVIDERS}/{body['id']}")).status_code == 204
    async with begin_system(store) as tx:
        assert await tx.all("select id from identities") == []
    assert (await Journey(browsers.new(), body["id"]).start()).status_code == 404


async def test_new_keys_of_a_provider_are_found(client, browsers, provider, names, app):
    """Rotation: a token by a key that isn't known makes us look again, once the minute is over."""
    clock = MovingClock()
    app.state.shopfloor.identity.client._keys._clock = clock
    await prove(client, names)
    body = await add(client, provider)
    assert (await Journey(browsers.new(), body["id"]).whole()).status_code == 303
    new = RSAKey.generate_key(2048, {"kid": "new", "use": "sig"})
    provider.jwks = json.dumps({"keys": [new.as_dict(private=False)]}).encode()
    provider.sign = lambda _, claims: jwt.encode({"alg": "RS256", "kid": "new"}, claims, new)
    assert (await Journey(browsers.new(), body["id"]).whole()).status_code == 401
    clock.forward(seconds=61)
    assert (await Journey(browsers.new(), body["id"]).whole()).status_code == 303


@pytest.mark.parametrize("basic", [True, False])
async def test_a_client_shows_its_secret_as_the_provider_asks(client, browsers, provider, names, basic: bool):
    await prove(client, names)
    body = await add(client, provider)
    if not basic:
        provider.change_description = lambda made: (
            made | {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
        )
    assert (await Journey(browsers.new(), body["id"]).whole()).status_code == 303
    assert provider.complaints == []
