"""Every change of a factor, a policy or a provider is on record, without secrets and without names."""

from __future__ import annotations

import pyotp
import pytest

from domain.accounts.software_authenticator import Device
from domain.accounts.sso_ground import REDIRECT_URI, Journey, fake_provider
from shopfloor.infra.record import Entry
from shopfloor.infra.tx import Store, Tx

HERE = {"origin": "http://127.0.0.1:8321", "rp_id": "127.0.0.1"}


@pytest.fixture
def entries(store: Store) -> list[Entry]:
    kept: list[Entry] = []

    async def keep(tx: Tx, entry: Entry) -> None:
        kept.append(entry)

    store.services.recorder = keep
    return kept


async def test_second_factors_are_on_record(client, people, browsers, entries):
    person = await people.new()
    email = await people.email(person)
    browser = browsers.new()
    await browser.sign_in(email)
    entries.clear()
    factors = "/api/v1/me/factors"
    secret = (await browser.post(f"{factors}/totp")).json()["secret"]
    confirmed = await browser.post(f"{factors}/totp/confirm", json={"code": pyotp.TOTP(secret).now()})
    options = (await browser.post(f"{factors}/passkeys/options")).json()
    body = {"name": "laptop of Somebody", "credential": Device(**HERE).create(options)}
    added = await browser.post(f"{factors}/passkeys", json=body)
    await browser.send("DELETE", f"{factors}/passkeys/{added.json()['passkey']['id']}")
    await browser.send("DELETE", f"{factors}/totp")
    await client.put("/api/v1/organizations/current/sign-in-policy", json={"mfa_required": True})
    await client.delete(f"/api/v1/members/{person.id}/factors")
    assert [entry.action for entry in entries] == [
        "factor.added", "recovery-codes.replaced", "factor.added", "factor.removed", "factor.removed",
        "sign-in-policy.changed", "factors.reset",
    ]  # fmt: skip
    told = repr(entries)
    for hidden in (secret, *confirmed.json()["recovery_codes"], email, "laptop"):
        assert hidden not in told


async def test_single_sign_on_is_on_record(client, browsers, entries):
    with fake_provider(redirect_uris={REDIRECT_URI}) as provider:
        body = {
            "name": "corp", "issuer": provider.issuer, "client_id": provider.client_id,
            "client_secret": provider.client_secret, "makes_accounts": True,
        }  # fmt: skip
        made = (await client.post("/api/v1/identity-providers", json=body)).json()
        path = f"/api/v1/identity-providers/{made['id']}"
        await client.patch(path, json={"client_secret": "another-fake-secret", "default_role": "developer"})
        await client.patch(path, json={"client_secret": provider.client_secret})
        domain = (await client.post("/api/v1/verified-domains", json={"domain": "example.org"})).json()
        await Journey(browsers.new(), made["id"]).whole()  # the domain is not proved yet
        await client.delete(f"/api/v1/verified-domains/{domain['id']}")
        await client.delete(path)
        assert [entry.action for entry in entries] == [
            "identity-provider.added", "identity-provider.changed", "identity-provider.changed", "domain.added",
            "domain.removed", "identity-provider.removed",
        ]  # fmt: skip
        for hidden in (provider.client_secret, "another-fake-secret", domain["record_text"], provider.person["email"]):
            assert hidden not in repr(entries)


async def test_a_change_that_can_not_be_recorded_does_not_happen(client, store: Store):
    async def full(tx: Tx, entry: Entry) -> None:
        raise OSError("the record is full")

    policy = "/api/v1/organizations/current/sign-in-policy"
    store.services.recorder = full
    assert (await client.put(policy, json={"mfa_required": True})).status_code == 500
    assert (await client.get(policy)).json()["mfa_required"] is False
