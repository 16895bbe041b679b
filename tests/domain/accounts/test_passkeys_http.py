"""Passkeys over HTTP: added, signing in alone, as the second factor; in one browser, once."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from domain.accounts.software_authenticator import Device, b64
from shopfloor.infra.tx import Store, begin_system

FACTORS = "/api/v1/me/factors"
HERE = {"origin": "http://127.0.0.1:8321", "rp_id": "127.0.0.1"}


@pytest.fixture(params=["ES256", "EdDSA"])
def device(request) -> Device:
    return Device(request.param, **HERE)


async def signed_in(people, browsers, email: str = ""):
    browser = browsers.new()
    await browser.sign_in(email or await people.email(await people.new()))
    return browser


async def add(browser, device: Device, **change: Any) -> httpx2.Response:
    options = (await browser.post(f"{FACTORS}/passkeys/options")).json()
    body = {"name": "laptop", "credential": device.create(options)} | change
    return await browser.post(f"{FACTORS}/passkeys", json=body)


async def ask(browser) -> dict[str, Any]:
    return (await browser.post("/api/v1/auth/passkeys/options")).json()


async def show(browser, credential: dict[str, Any]) -> httpx2.Response:
    return await browser.post("/api/v1/auth/passkeys/sign-in", json={"credential": credential})


async def test_a_passkey_signs_its_owner_in_without_a_name(people, browsers, device):
    browser = await signed_in(people, browsers)
    added = await add(browser, device)
    assert added.status_code == 201, added.text
    assert len(added.json()["recovery_codes"]) == 10
    me = (await browser.get("/api/v1/me")).json()
    fresh = browsers.new()
    options = await ask(fresh)
    assert (options["rpId"], options["userVerification"], options.get("allowCredentials", [])) == (
        "127.0.0.1", "required", [],
    )  # fmt: skip
    answer = await show(fresh, device.get(options))
    assert answer.status_code == 200, answer.text
    assert (await fresh.get("/api/v1/me")).json()["id"] == me["id"]
    listed = (await fresh.get(FACTORS)).json()["passkeys"]
    assert [(each["name"], each["last_used_at"] is not None) for each in listed] == [("laptop", True)]


async def test_a_passkey_is_the_second_factor_after_a_password(people, browsers, device):
    email = await people.email(await people.new())
    await add(await signed_in(people, browsers, email), device)
    browser = browsers.new()
    asked = (await browser.sign_in(email)).json()["second_factor"]
    assert asked["kinds"] == ["passkey", "recovery"]
    assert [each["id"] for each in asked["passkey"]["allowCredentials"]] == [b64(device.credential_id)]
    device.verifies_user = False  # having it is enough here: the password is the other factor
    proof = {"challenge": asked["challenge"], "kind": "passkey", "passkey": device.get(asked["passkey"])}
    answer = await browser.post("/api/v1/auth/second-factor", json=proof)
    assert answer.status_code == 200, answer.text


async def test_an_answer_is_good_once(people, browsers, device):
    device.counts = False  # so that it is the challenge alone that refuses the second time
    await add(await signed_in(people, browsers), device)
    browser = browsers.new()
    credential = device.get(await ask(browser))
    assert (await show(browser, credential)).status_code == 200
    again = await show(browser, credential)
    assert (again.status_code, again.json()["code"]) == (401, "not-signed-in")


async def test_an_answer_is_good_in_the_browser_that_asked(people, browsers, device):
    await add(await signed_in(people, browsers), device)
    browser, other = browsers.new(), browsers.new()
    options = await ask(browser)
    await ask(other)
    assert (await show(other, device.get(options))).status_code == 401
    assert (await show(browsers.new(), device.get(options))).status_code == 401
    assert (await show(browser, device.get(options))).status_code == 200


async def test_a_challenge_for_adding_signs_nobody_in_and_the_other_way_round(people, browsers, device):
    browser = await signed_in(people, browsers)
    await add(browser, device)
    adding = (await browser.post(f"{FACTORS}/passkeys/options")).json()
    assert (await show(browser, device.get(adding))).status_code == 401
    options = adding | {"challenge": (await ask(browser))["challenge"]}
    body = {"name": "other", "credential": Device(**HERE).create(options)}
    assert (await browser.post(f"{FACTORS}/passkeys", json=body)).status_code == 401


async def test_another_persons_options_add_nothing(people, browsers):
    one, other = await signed_in(people, browsers), await signed_in(people, browsers)
    options = (await one.post(f"{FACTORS}/passkeys/options")).json()
    body = {"name": "stolen", "credential": Device(**HERE).create(options)}
    assert (await other.post(f"{FACTORS}/passkeys", json=body)).status_code == 401
    assert (await one.post(f"{FACTORS}/passkeys", json=body)).status_code == 201
    assert (await one.post(f"{FACTORS}/passkeys", json=body)).status_code == 422  # once


async def test_another_persons_passkey_is_no_second_factor(people, browsers, device):
    email = await people.email(await people.new())
    await add(await signed_in(people, browsers, email), device)
    thief = Device(**HERE)
    await add(await signed_in(people, browsers), thief)
    browser = browsers.new()
    asked = (await browser.sign_in(email)).json()["second_factor"]
    proof = {"challenge": asked["challenge"], "kind": "passkey"}
    stolen = proof | {"passkey": thief.get(asked["passkey"])}
    assert (await browser.post("/api/v1/auth/second-factor", json=stolen)).status_code == 401
    own = proof | {"passkey": device.get(asked["passkey"])}
    assert (await browser.post("/api/v1/auth/second-factor", json=own)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://attacker.example"},
        {"origin": "http://127.0.0.1:8322"},
        {"rp_id": "attacker.example"},
        {"verifies_user": False},
        {"present": False},
        {"count": -1},
        {"user_handle": b"\x01" * 16},
        {"user_handle": b""},
        {"credential_id": b"unknown credential id 0123456789"},
    ],
    ids=str,
)
async def test_an_answer_that_does_not_hold_signs_nobody_in(people, browsers, change: dict[str, Any]):
    device = Device(**HERE)
    await add(await signed_in(people, browsers), device)
    browser = browsers.new()
    assert (await show(browser, device.get(await ask(browser)))).status_code == 200
    for name, value in change.items():
        setattr(device, name, value)
    refused = await show(browser, device.get(await ask(browser)))
    assert (refused.status_code, refused.json()["code"]) == (401, "not-signed-in")
    assert "This passkey was not accepted" in refused.json()["detail"]


async def test_a_passkey_of_a_disabled_person_opens_nothing(people, browsers, device):
    person = await people.new()
    await add(await signed_in(people, browsers, await people.email(person)), device)
    browser = browsers.new()
    options = await ask(browser)
    await people.disable(person)
    assert (await show(browser, device.get(options))).status_code == 401


async def test_a_passkey_that_was_removed_opens_nothing(people, browsers, device):
    browser = await signed_in(people, browsers)
    added = (await add(browser, device)).json()["passkey"]["id"]
    stranger = await signed_in(people, browsers)
    assert (await stranger.send("DELETE", f"{FACTORS}/passkeys/{added}")).status_code == 404
    assert (await browser.send("DELETE", f"{FACTORS}/passkeys/{added}")).status_code == 204
    fresh = browsers.new()
    assert (await show(fresh, device.get(await ask(fresh)))).status_code == 401


async def test_one_credential_is_added_once_whoever_tries(people, browsers, device):
    assert (await add(await signed_in(people, browsers), device)).status_code == 201
    again = await add(await signed_in(people, browsers), device)
    assert (again.status_code, again.json()["code"]) == (409, "factor-there")


async def test_another_sites_page_begins_no_sign_in(browsers):
    foreign = {"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site"}
    answer = await browsers.new().post("/api/v1/auth/passkeys/options", headers=foreign)
    assert (answer.status_code, answer.json()["code"]) == (403, "request-forged")


@pytest.mark.parametrize("part", ["clientDataJSON", "signature", "authenticatorData"])
@pytest.mark.parametrize("value", ["", "***", "AA", 7, None, "A" * 20_000])
async def test_a_broken_answer_is_refused_as_such(people, browsers, part: str, value: Any):
    device = Device(**HERE)
    await add(await signed_in(people, browsers), device)
    browser = browsers.new()
    credential = device.get(await ask(browser))
    credential["response"][part] = value
    assert (await show(browser, credential)).status_code in {401, 422}


async def test_what_the_database_keeps_of_a_passkey_is_public(people, browsers, store: Store, device):
    await add(await signed_in(people, browsers), device)
    async with begin_system(store) as tx:
        row = await tx.one("select public_key, sign_count, backed_up, transports from passkeys")
    assert row is not None
    assert (row["sign_count"], row["backed_up"], row["transports"]) == (0, False, ["internal"])
