"""Links handed over where no mail goes: bounded by what their maker may, and no way into another organization."""

from __future__ import annotations

from typing import Any

import pyotp
import pytest

from shopfloor.base.ids import new_id
from shopfloor.infra.record import Entry
from shopfloor.infra.tx import Store, Tx, begin
from signed_in import PASSWORD

OTHER = "another fake sentence entirely"
NEW = {"slug": "acme", "name": "Acme", "owner_email": "boss@example.org"}


async def _signed_in(browsers: Any, people: Any, role: str) -> Any:
    browser = browsers.new()
    assert (await browser.sign_in(await people.email(await people.new(role=role)))).status_code == 200
    return browser


async def test_a_member_without_mail_gets_a_new_password_by_a_link_that_an_admin_hands_over(
    browsers, people, store: Store
):
    entries: list[Entry] = []

    async def keep(_: Tx, entry: Entry) -> None:
        entries.append(entry)

    store.services.recorder = keep
    admin, somebody = await _signed_in(browsers, people, "admin"), await people.new()
    address = f"/api/v1/members/{somebody.id}/setup-link"
    first, second = [await admin.post(address) for _ in range(2)]
    assert (second.status_code, second.headers["cache-control"]) == (201, "no-store"), second.text
    old, new = (answer.json()["link"].partition("/reset#")[2] for answer in (first, second))
    body = {"password": OTHER}
    assert (await browsers.new().post("/api/v1/auth/password/reset", json=body | {"token": old})).status_code == 422
    assert (await browsers.new().post("/api/v1/auth/password/reset", json=body | {"token": new})).status_code == 204
    assert (await browsers.new().post("/api/v1/auth/password/reset", json=body | {"token": new})).status_code == 422
    email = await people.email(somebody)
    assert (await browsers.new().sign_in(email)).status_code == 401
    assert (await browsers.new().sign_in(email, OTHER)).status_code == 200
    async with begin(store, people.owner) as tx:
        row = await tx.one("select email_verified_at from users where id = %s", (somebody.id,))
    assert row == {"email_verified_at": None}  # no mail showed whose address it is
    assert [each.action for each in entries if str(somebody.id) in str(each)].count("password-link.made") == 2


async def test_a_new_password_by_a_link_goes_around_no_second_factor(browsers, people):
    admin, somebody = await _signed_in(browsers, people, "admin"), await people.new()
    email, browser = await people.email(somebody), browsers.new()
    await browser.sign_in(email)
    secret = (await browser.post("/api/v1/me/factors/totp")).json()["secret"]
    code = pyotp.TOTP(secret).now()
    assert (await browser.post("/api/v1/me/factors/totp/confirm", json={"code": code})).status_code == 200
    token = (await admin.post(f"/api/v1/members/{somebody.id}/setup-link")).json()["link"].partition("#")[2]
    taken = await browsers.new().post("/api/v1/auth/password/reset", json={"token": token, "password": OTHER})
    assert (taken.status_code, taken.content) == (204, b"")
    answer = (await browsers.new().sign_in(email, OTHER)).json()
    assert (answer["session"], answer["second_factor"]["kinds"]) == (None, ["recovery", "totp"])


async def test_nobody_takes_over_an_account_that_may_more(browsers, people):
    admin, manager = await _signed_in(browsers, people, "admin"), await _signed_in(browsers, people, "manager")
    owner, viewer = await people.new(role="owner"), await people.new(role="viewer")
    above = await admin.post(f"/api/v1/members/{owner.id}/setup-link")
    assert (above.status_code, above.json()["code"]) == (403, "permission-denied")
    without = await manager.post(f"/api/v1/members/{viewer.id}/setup-link")
    assert (without.status_code, without.json()["facts"]["permission"]) == (403, "member.edit")
    assert (await admin.post(f"/api/v1/members/{viewer.id}/setup-link")).status_code == 201
    assert (await admin.post(f"/api/v1/members/{new_id()}/setup-link")).status_code == 404


async def test_whoever_may_more_in_one_project_is_not_taken_over_by_a_key_that_may_less(browsers, people, store):
    boss = await people.new(role="admin")
    small = ["member.edit", "member.read", *_MEMBER]
    headers = {"Authorization": f"Bearer {await people.key(boss, permissions=small)}"}
    plain, lead = await people.new(role="member"), await people.new(role="member")
    async with begin(store, people.owner) as tx:
        await tx.execute("update projects set owner_id = %s where slug = 'default'", (lead.id,))
    taken = await browsers.new().post(f"/api/v1/members/{plain.id}/setup-link", headers=headers)
    assert taken.status_code == 201, taken.text
    refused = await browsers.new().post(f"/api/v1/members/{lead.id}/setup-link", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "role-too-high")


async def test_a_link_is_refused_for_oneself_programs_and_the_disabled(browsers, people, store):
    boss = await people.new(role="owner")
    browser = browsers.new()
    await browser.sign_in(await people.email(boss))
    disabled, program = await people.new(), await people.new(password=None)
    await people.disable(disabled)
    async with begin(store, people.owner) as tx:
        await tx.execute("update users set kind = 'service' where id = %s", (program.id,))
    for who in (boss, disabled, program):
        assert (await browser.post(f"/api/v1/members/{who.id}/setup-link")).status_code == 422


async def test_the_owner_of_a_new_organization_gets_in_by_a_link_and_the_operator_never_after(browsers, people):
    operator = await _signed_in(browsers, people, "owner")
    made = (await operator.post("/api/v1/organizations", json=NEW)).json()
    address, asked = "/api/v1/organizations/setup-link", {"organization_id": made["id"]}
    answer = await operator.post(address, json=asked)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    body = {"token": answer.json()["link"].partition("/setup#")[2], "name": "Boss", "email": NEW["owner_email"]}
    owner = browsers.new()
    assert (await owner.post("/api/v1/auth/setup", json=body | {"password": PASSWORD})).status_code == 200
    assert [each["name"] for each in (await owner.get("/api/v1/members")).json()["items"]] == ["Boss"]
    again = await operator.post(address, json=asked)
    assert (again.status_code, again.json()["code"]) == (409, "organization-in-use")


@pytest.mark.parametrize("role", ["admin", "viewer"])
async def test_only_owners_of_the_operator_hand_over_an_organization(browsers, people, role: str):
    operator = await _signed_in(browsers, people, "owner")
    made = (await operator.post("/api/v1/organizations", json=NEW)).json()
    address = "/api/v1/organizations/setup-link"
    refused = await (await _signed_in(browsers, people, role)).post(address, json={"organization_id": made["id"]})
    assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "organization.create")
    for organization_id, status in ((new_id(), 404), (people.owner.organization_id, 409)):
        answer = await operator.post(address, json={"organization_id": str(organization_id)})
        assert answer.status_code == status, answer.text


_MEMBER = ("organization.read", "agent.read", "provider.read", "price.read", "system.read")
