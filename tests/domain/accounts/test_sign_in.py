"""The way in: passwords and what is said of them, set-up, invitations, resets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from argon2 import PasswordHasher

from shopfloor.base.ids import new_id
from shopfloor.domain.accounts.errors import PasswordTooWeak
from shopfloor.domain.accounts.passwords import Passwords, refuse_weak
from shopfloor.domain.accounts.set_up import first_setup_token, new_setup_token
from shopfloor.infra.record import Entry
from shopfloor.infra.tx import Tx, begin, begin_system
from signed_in import HASHED, PASSWORD, Browsers, make_app

OTHER = "another fake sentence entirely"


async def test_a_browser_gets_a_cookie_that_scripts_cannot_read(browsers, people):
    somebody = await people.new()
    browser = browsers.new()
    answer = await browser.sign_in(await people.email(somebody))
    assert answer.status_code == 200, answer.text
    session = answer.json()["session"]
    assert (session["user_id"], session["access_token"], session["refresh_token"]) == (str(somebody.id), None, None)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("shopfloor=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["cache-control"] == "no-store"
    me = (await browser.get("/api/v1/me")).json()
    assert (me["kind"], me["id"]) == ("user", str(somebody.id))


async def test_a_program_gets_tokens_and_no_cookie(browsers, people):
    email = await people.email(await people.new())
    browser = browsers.new()
    body = {"email": email, "password": PASSWORD, "kind": "token"}
    answer = await browser.post("/api/v1/auth/sign-in", json=body)
    session = answer.json()["session"]
    assert "set-cookie" not in answer.headers
    assert session["expires_in_s"] == 600
    bearer = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await browsers.new().get("/api/v1/me", headers=bearer)).status_code == 200
    keys = (await browser.get("/.well-known/jwks.json")).json()["keys"]
    assert [(key["kty"], key["crv"], key["alg"], "d" in key) for key in keys] == [
        ("OKP", "Ed25519", "EdDSA", False)
    ] * 2


async def test_whatever_is_wrong_the_answer_is_the_same(browsers, people):
    known, disabled, keyless = await people.new(), await people.new(), await people.new(password=None)
    await people.disable(disabled)
    attempts = [
        (await people.email(known), "a wrong sentence"),
        ("nobody@example.org", PASSWORD),
        (await people.email(disabled), PASSWORD),
        (await people.email(keyless), PASSWORD),
        (await people.email(keyless), "x"),
    ]
    answers = [await browsers.new().sign_in(email, password) for email, password in attempts]
    bodies = [{name: value for name, value in each.json().items() if name != "instance"} for each in answers]
    assert [each.status_code for each in answers] == [401] * 5
    assert bodies == [bodies[0]] * 5
    assert all("set-cookie" not in each.headers for each in answers)
    assert (await browsers.new().sign_in(await people.email(known))).status_code == 200


class Counting(Passwords):
    """Real hashes, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: list[str] = []

    def _right(self, stored: str, password: str) -> bool:
        self.checked.append(stored)
        return super()._right(stored, password)


async def test_every_sign_in_is_on_record_good_or_bad(browsers, people, store):
    entries: list[Entry] = []

    async def keep(_: Tx, entry: Entry) -> None:
        entries.append(entry)

    store.services.recorder = keep
    somebody = await people.new()
    email = await people.email(somebody)
    await browsers.new().sign_in(email, "wrong")
    await browsers.new().sign_in(email)
    told = [(each.action, each.result, each.target_kind) for each in entries if not each.action.startswith("member")]
    assert told == [("sign-in.failed", "refused", "user"), ("session.opened", "done", "session")]
    assert entries[-2].target_id == str(somebody.id)


async def test_every_refusal_costs_one_hash(people, accounts_desk):
    """The same work, counted: a clock would only tell how busy the machine is."""
    passwords = Counting()
    app = make_app(people.store, replace(accounts_desk, passwords=passwords))
    browsers = Browsers(app)
    disabled = await people.new()
    await people.disable(disabled)
    emails = [await people.email(await people.new()), "nobody@example.org", await people.email(disabled)]
    for email in emails:
        assert (await browsers.new().sign_in(email, "a wrong sentence")).status_code == 401
    assert [each.split("$")[1:4] for each in passwords.checked] == [["argon2id", "v=19", "m=19456,t=2,p=1"]] * 3


async def test_a_person_of_another_organization_with_the_same_address_is_somebody_else(browsers, people, store):
    ours = await people.new(email="twice@example.org")
    organization_id, user_id = new_id(), new_id()
    async with begin_system(store) as tx:
        await tx.execute("insert into organizations (id, name) values (%s, 'Other')", (organization_id,))
        await tx.execute(
            "insert into users (id, organization_id, email, name, role) "
            "values (%s, %s, 'twice@example.org', 'x', 'viewer')",
            (user_id, organization_id),
        )
        await tx.execute("update users set password_hash = %s where id = %s", (HASHED, user_id))
    found: list[Any] = []
    for organization in (None, str(ours.organization_id), str(organization_id)):
        body = {"email": "Twice@Example.org ", "password": PASSWORD, "organization": organization}
        session = (await browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]
        found.append((session["organization_id"], session["user_id"]))
    assert found == [
        (str(ours.organization_id), str(ours.id)),
        (str(ours.organization_id), str(ours.id)),
        (str(organization_id), str(user_id)),
    ]


@pytest.mark.parametrize("known", [True, False])
async def test_guessing_waits_whether_or_not_there_is_such_an_account(browsers, people, known: bool):
    email = await people.email(await people.new()) if known else "nobody@example.org"
    answers = [await browsers.new().sign_in(email, f"guess number {n}") for n in range(7)]
    assert [each.status_code for each in answers] == [401] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (answers[-1].json()["code"], answers[-1].json()["retryable"]) == ("too-many-attempts", True)
    right = await browsers.new().sign_in(email)
    assert right.status_code == 429  # the right password doesn't go past the wait


async def test_many_guesses_at_the_same_moment_are_no_more_than_one_by_one(browsers, people):
    email = await people.email(await people.new())
    answers = await asyncio.gather(*(browsers.new().sign_in(email, f"guess {n}") for n in range(12)))
    assert sorted(each.status_code for each in answers) == [401] * 5 + [429] * 7


async def test_an_address_that_tries_many_accounts_waits_too_and_others_do_not(browsers, people):
    good = await people.email(await people.new())
    statuses = [
        (await browsers.new(address="192.0.2.9").sign_in(f"nobody{n}@example.org", "x" * 8)).status_code
        for n in range(31)
    ]
    assert statuses == [401] * 30 + [429]
    assert (await browsers.new(address="192.0.2.9").sign_in(good)).status_code == 429
    assert (await browsers.new(address="192.0.2.10").sign_in(good)).status_code == 200


async def test_a_right_password_forgets_the_wrong_ones_before_it(browsers, people):
    email = await people.email(await people.new())
    for _ in range(3):
        for n in range(4):
            assert (await browsers.new().sign_in(email, f"guess {n}")).status_code == 401
        assert (await browsers.new().sign_in(email)).status_code == 200


async def test_a_hash_of_other_parameters_is_made_anew_at_the_next_sign_in(browsers, people, store):
    somebody = await people.new()
    weak = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    async with begin_system(store) as tx:
        await tx.execute("update users set password_hash = %s where id = %s", (weak, somebody.id))
    assert (await browsers.new().sign_in(await people.email(somebody))).status_code == 200
    async with begin_system(store) as tx:
        row = await tx.one("select password_hash from users where id = %s", (somebody.id,))
    assert row is not None
    assert row["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await browsers.new().sign_in(await people.email(somebody))).status_code == 200


async def test_a_password_is_the_same_however_it_was_composed():
    passwords = Passwords()
    stored = await passwords.hash("gr\u00fcne W\u00e4lder \ufb01nden")
    assert await passwords.verify(stored, "gru\u0308ne Wa\u0308lder finden")
    assert not await passwords.verify(stored, "grune Walder finden")
    assert not await passwords.verify(None, "anything at all")


GUESSED = [
    "short", "1234567", "x" * 129, "password", "Password1!", "P@ssw0rd2024", "qwertyuiop", "1q2w3e4r5t", "abcabcabc",
    "12345678", "iloveyou!", "Summer2024!", "welcome123", "aaaaaaaa", "19841224", "letmein2", "trustno1",
    "zaq12wsx", "0987654321", "asdfghjkl;", "00000000", "passwordpassword", "monkeydragon1", "Shopfloor1!",
    "\uff50assword\uff11", "somebody.else", "example12345", "SomebodyElse99",
]  # fmt: skip
TAKEN = [
    PASSWORD, "x7Kq!m2v", "correct horse battery staple", "\u6771\u4eac\u306e\u591c\u306f\u660e\u308b\u3044",
    "no two words of it alike " * 5, "        a sentence with spaces", "tr0ub4dor&3xk", "grün wie der Wald im Mai",
]  # fmt: skip


@pytest.mark.parametrize("password", GUESSED)
def test_a_password_that_is_guessed_first_is_refused(password: str):
    with pytest.raises(PasswordTooWeak, match=r"A password has 8 to 128|among those that are guessed first"):
        refuse_weak(password, own=("somebody.else@example.org", "Somebody Else"))


@pytest.mark.parametrize("password", TAKEN)
def test_any_other_password_is_taken(password: str):
    refuse_weak(password, own=("somebody.else@example.org", "Somebody Else"))


async def test_the_first_owner_sets_a_password_with_a_link_that_works_once(browsers, store, owner):
    token = await first_setup_token(store)
    assert token is not None
    assert await first_setup_token(store) is None  # said once
    body = {"token": token, "name": "First", "email": "First@Example.org", "password": PASSWORD}
    answer = await browsers.new().post("/api/v1/auth/setup", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["session"]["user_id"] == str(owner.id)
    again = await browsers.new().post("/api/v1/auth/setup", json=body | {"password": OTHER})
    assert (again.status_code, again.json()["code"]) == (422, "link-not-valid")
    browser = browsers.new()
    assert (await browser.sign_in("first@example.org")).status_code == 200
    profile = (await browser.get("/api/v1/me/profile")).json()
    assert (profile["name"], profile["email"], profile["has_password"]) == ("First", "first@example.org", True)


async def test_a_new_set_up_link_makes_the_one_before_it_void(browsers, store, owner):
    first = await new_setup_token(store)
    second = await new_setup_token(store)
    body = {"name": "First", "email": "first@example.org", "password": PASSWORD}
    assert (await browsers.new().post("/api/v1/auth/setup", json=body | {"token": first})).status_code == 422
    assert (await browsers.new().post("/api/v1/auth/setup", json=body | {"token": second})).status_code == 200


async def test_a_link_that_is_too_old_is_void(browsers, store, owner):
    token = await new_setup_token(store)
    async with begin_system(store) as tx:
        await tx.execute("update one_time_tokens set expires_at = now()")
    body = {"token": token, "name": "First", "email": "first@example.org", "password": PASSWORD}
    assert (await browsers.new().post("/api/v1/auth/setup", json=body)).json()["code"] == "link-not-valid"


async def test_two_who_hold_the_same_link_do_not_both_get_in(browsers, store, owner):
    token = await new_setup_token(store)
    body = {"token": token, "name": "First", "email": "first@example.org", "password": PASSWORD}
    answers = await asyncio.gather(*(browsers.new().post("/api/v1/auth/setup", json=body) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 422, 422, 422]


async def admin_of(browsers, people, role: str = "admin"):
    browser = browsers.new()
    assert (await browser.sign_in(await people.email(await people.new(role=role)))).status_code == 200
    return browser


async def test_somebody_invited_comes_in_with_a_name_and_a_password(browsers, people):
    admin = await admin_of(browsers, people)
    made = await admin.post("/api/v1/invitations", json={"email": " New@Example.org", "role": "viewer"})
    assert made.status_code == 201, made.text
    link = made.json()["link"]  # no mail server is set: shown this once
    assert link.startswith("http://127.0.0.1:8321/invitation#")
    listed = (await admin.get("/api/v1/invitations")).json()["items"]
    assert [(each["email"], each["role"], "link" in each) for each in listed] == [("new@example.org", "viewer", False)]
    body = {"token": link.partition("#")[2], "name": "New", "password": PASSWORD}
    accepted = await browsers.new().post("/api/v1/auth/invitations/accept", json=body)
    assert accepted.status_code == 200, accepted.text
    browser = browsers.new()
    assert (await browser.sign_in("new@example.org")).status_code == 200
    profile = (await browser.get("/api/v1/me/profile")).json()
    assert (profile["role"], profile["email_verified_at"]) == ("viewer", None)  # no mail showed whose address it is
    again = await browsers.new().post("/api/v1/auth/invitations/accept", json=body)
    assert again.json()["code"] == "link-not-valid"


async def test_an_invitation_leads_into_the_teams_it_names_that_are_still_there(browsers, people):
    admin = await admin_of(browsers, people)
    web, gone = [
        (await admin.post("/api/v1/teams", json={"slug": each, "name": each})).json() for each in ("web", "gone")
    ]
    unknown = await admin.post("/api/v1/invitations", json={"email": "new@example.org", "teams": ["web", "nowhere"]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "team-unknown")
    made = await admin.post(
        "/api/v1/invitations", json={"email": "new@example.org", "teams": ["web", gone["id"], "web"]}
    )
    assert made.json()["team_ids"] == [web["id"], gone["id"]]
    assert (await admin.send("DELETE", f"/api/v1/teams/{gone['id']}", headers={"If-Match": "*"})).status_code == 204
    body = {"token": made.json()["link"].partition("#")[2], "name": "New", "password": PASSWORD}
    accepted = await browsers.new().post("/api/v1/auth/invitations/accept", json=body)
    assert accepted.status_code == 200, accepted.text
    members = (await admin.get("/api/v1/teams/web/members")).json()["items"]
    assert [(each["user_id"], each["team_role"]) for each in members] == [
        (accepted.json()["session"]["user_id"], "member")
    ]


async def test_nobody_invites_into_a_team_that_may_more_than_he_does(browsers, people):
    owner, manager = await admin_of(browsers, people, role="owner"), await admin_of(browsers, people, role="manager")
    for slug, role in (("above", "admin"), ("below", "viewer")):
        made = await owner.post("/api/v1/teams", json={"slug": slug, "name": slug, "role": role})
        assert made.status_code == 201, made.text
    answers = [
        await manager.post("/api/v1/invitations", json={"email": "new@example.org", "role": "viewer", "teams": [each]})
        for each in ("above", "below")
    ]
    assert [answer.status_code for answer in answers] in ([403, 201], [403, 403]), answers[1].text


async def test_an_invitation_withdrawn_replaced_or_late_is_void(browsers, people, store):
    admin = await admin_of(browsers, people)
    tokens = []
    for _ in range(3):
        made = (await admin.post("/api/v1/invitations", json={"email": "new@example.org"})).json()
        tokens.append(made["link"].partition("#")[2])
    body = {"name": "New", "password": PASSWORD}

    async def accept(token: str) -> int:
        answer = await browsers.new().post("/api/v1/auth/invitations/accept", json=body | {"token": token})
        return answer.status_code

    assert [await accept(token) for token in tokens[:2]] == [422, 422]  # replaced
    assert (await admin.send("DELETE", f"/api/v1/invitations/{made['id']}")).status_code == 204
    assert await accept(tokens[2]) == 422
    late = (await admin.post("/api/v1/invitations", json={"email": "new@example.org"})).json()
    async with begin(store, people.owner) as tx:
        await tx.execute("update invitations set expires_at = now() where id = %s", (late["id"],))
    assert await accept(late["link"].partition("#")[2]) == 422


async def test_nobody_invites_above_themselves(browsers, people):
    admin, manager = await admin_of(browsers, people), await admin_of(browsers, people, "manager")
    above = await admin.post("/api/v1/invitations", json={"email": "new@example.org", "role": "owner"})
    assert (above.status_code, above.json()["code"]) == (403, "role-too-high")
    refused = await manager.post("/api/v1/invitations", json={"email": "new@example.org", "role": "viewer"})
    assert (refused.status_code, refused.json()["facts"]["permission"]) == (403, "member.edit")
    owner = await admin_of(browsers, people, "owner")
    made = await owner.post("/api/v1/invitations", json={"email": "new@example.org", "role": "owner"})
    assert made.status_code == 201


async def test_an_invitation_of_somebody_disabled_since_is_void(browsers, people):
    somebody = await people.new(role="admin")
    browser = browsers.new()
    await browser.sign_in(await people.email(somebody))
    link = (await browser.post("/api/v1/invitations", json={"email": "new@example.org"})).json()["link"]
    await people.disable(somebody)
    body = {"token": link.partition("#")[2], "name": "New", "password": PASSWORD}
    assert (await browsers.new().post("/api/v1/auth/invitations/accept", json=body)).status_code == 422


@pytest.mark.parametrize(
    "email", ["nobody", "a@b", "x\r\nBcc: y@example.org", "a b@example.org", "@example.org", "a@exa mple.org"]
)
async def test_what_is_no_address_is_not_invited(browsers, people, email: str):
    admin = await admin_of(browsers, people)
    assert (await admin.post("/api/v1/invitations", json={"email": email})).status_code == 422


async def test_a_changed_password_ends_the_other_sessions_only(browsers, people):
    email = await people.email(await people.new())
    browser, other = browsers.new(), browsers.new()
    await browser.sign_in(email)
    await other.sign_in(email)
    wrong = await browser.post("/api/v1/auth/password", json={"present": "wrong", "new": OTHER})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "sign-in-refused")
    changed = await browser.post("/api/v1/auth/password", json={"present": PASSWORD, "new": OTHER})
    assert changed.status_code == 204
    assert [(await each.get("/api/v1/me")).status_code for each in (browser, other)] == [200, 401]
    assert [(await browsers.new().sign_in(email, each)).status_code for each in (PASSWORD, OTHER)] == [401, 200]


async def test_a_change_of_password_wants_a_fresh_sign_in_and_a_person(browsers, people, store):
    somebody = await people.new()
    browser = browsers.new()
    await browser.sign_in(await people.email(somebody))
    async with begin(store, people.owner) as tx:
        await tx.execute("update sessions set signed_in_at = now() - interval '11 minutes'")
    body = {"present": PASSWORD, "new": OTHER}
    stale = await browser.post("/api/v1/auth/password", json=body)
    assert (stale.status_code, stale.json()["code"]) == (403, "fresh-sign-in-needed")
    key = {"Authorization": f"Bearer {await people.key(somebody)}"}
    by_key = await browsers.new().http.post("/api/v1/auth/password", json=body, headers=key)
    assert (by_key.status_code, by_key.json()["code"]) == (403, "fresh-sign-in-needed")
    await browser.sign_in(await people.email(somebody))
    assert (await browser.post("/api/v1/auth/password", json=body)).status_code == 204


@pytest.mark.parametrize(("column", "ago"), [("last_seen_at", "13 hours"), ("ends_at", "1 second")])
async def test_a_session_nobody_used_or_that_is_too_old_is_over(browsers, people, store, column: str, ago: str):
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new()))
    assert (await browser.get("/api/v1/me")).status_code == 200
    async with begin(store, people.owner) as tx:
        await tx.connection.execute(f"update sessions set {column} = now() - %s::interval", (ago,))
    assert (await browser.get("/api/v1/me")).status_code == 401


async def test_sessions_are_listed_and_ended_by_their_person_alone(browsers, people):
    email = await people.email(await people.new())
    mine, other, stranger = browsers.new(), browsers.new(), browsers.new()
    for browser in (mine, other):
        await browser.sign_in(email)
    await stranger.sign_in(await people.email(await people.new()))
    rows = (await mine.get("/api/v1/me/sessions")).json()["items"]
    assert [(row["kind"], row["methods"], row["current"]) for row in rows] == [
        ("browser", ["password"], True),
        ("browser", ["password"], False),
    ]
    assert (await stranger.send("DELETE", f"/api/v1/me/sessions/{rows[1]['id']}")).status_code == 404
    assert (await other.get("/api/v1/me")).status_code == 200
    assert (await mine.send("DELETE", f"/api/v1/me/sessions/{rows[1]['id']}")).status_code == 204
    assert (await other.get("/api/v1/me")).status_code == 401
    assert len((await mine.get("/api/v1/me/sessions")).json()["items"]) == 1


async def test_without_a_mail_server_a_forgotten_password_is_answered_alike_and_nothing_is_queued(
    browsers, people, store
):
    email = await people.email(await people.new())
    answers = [
        await browsers.new().post("/api/v1/auth/password/forgot", json={"email": each})
        for each in (email, "nobody@example.org")
    ]
    assert [(each.status_code, each.json()) for each in answers] == [(202, {"accepted": True})] * 2
    async with begin_system(store) as tx:
        assert await tx.all("select 1 from one_time_tokens") == []
