"""Second factors over HTTP: set up, asked for, used once, lost, taken away."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pyotp
import pytest

from domain.accounts.moving_clock import MovingClock
from domain.accounts.software_authenticator import Device
from shopfloor.domain.access.permissions import ROLES
from shopfloor.infra.tx import Store, begin_system

FACTORS = "/api/v1/me/factors"
POLICY = "/api/v1/organizations/current/sign-in-policy"
HERE = {"origin": "http://127.0.0.1:8321", "rp_id": "127.0.0.1"}


@pytest.fixture
def clock(store: Store) -> MovingClock:
    store.services.clock = MovingClock()
    return store.services.clock


@pytest.fixture
async def somebody(people, browsers, clock):
    """A developer, signed in with a password."""
    person = await people.new()
    browser = browsers.new()
    await browser.sign_in(await people.email(person))
    return browser


class App:
    """The authenticator app on somebody's phone."""

    def __init__(self, secret: str, clock: MovingClock) -> None:
        self.generator, self.clock = pyotp.TOTP(secret), clock

    def code(self) -> str:
        """A code that was not used yet: the next 30 seconds have come."""
        self.clock.forward(seconds=30)
        return self.shown()

    def shown(self) -> str:
        return self.generator.at(self.clock.now())

    def wrong(self) -> str:
        return f"{(int(self.shown()) + 500_000) % 1_000_000:06}"


async def set_up(browser, clock: MovingClock) -> tuple[App, list[str]]:
    made = await browser.post(f"{FACTORS}/totp")
    assert made.status_code == 201, made.text
    app = App(made.json()["secret"], clock)
    confirmed = await browser.post(f"{FACTORS}/totp/confirm", json={"code": app.shown()})
    assert confirmed.status_code == 200, confirmed.text
    return app, confirmed.json()["recovery_codes"]


async def add_passkey(browser, device: Device) -> httpx2.Response:
    options = (await browser.post(f"{FACTORS}/passkeys/options")).json()
    return await browser.post(f"{FACTORS}/passkeys", json={"name": "laptop", "credential": device.create(options)})


async def challenged(browsers, email: str):
    """A browser whose password was right, and what it is asked for."""
    browser = browsers.new()
    asked = (await browser.sign_in(email)).json()
    assert asked["session"] is None, asked
    return browser, asked["second_factor"]


async def prove(browser, asked: dict[str, Any], **proof: Any) -> httpx2.Response:
    return await browser.post("/api/v1/auth/second-factor", json={"challenge": asked["challenge"]} | proof)


async def email_of(store: Store, browser) -> str:
    me = (await browser.get("/api/v1/me")).json()
    async with begin_system(store) as tx:
        row = await tx.one("select email from users where id = %s", (me["id"],))
    assert row is not None
    return row["email"]


async def test_an_app_is_set_up_and_asked_for_at_the_next_sign_in(somebody, browsers, store, clock):
    before = (await somebody.get(FACTORS)).json()
    assert before == {
        "required": False, "enrolled": [], "totp_since": None, "passkeys": [], "recovery_codes_left": 0,
    }  # fmt: skip
    app, codes = await set_up(somebody, clock)
    after = (await somebody.get(FACTORS)).json()
    assert (after["enrolled"], after["recovery_codes_left"]) == (["recovery", "totp"], 10)
    assert len(set(codes)) == 10
    browser, asked = await challenged(browsers, await email_of(store, somebody))
    assert asked["kinds"] == ["recovery", "totp"]
    assert (await browser.get("/api/v1/me")).status_code == 401  # the password alone opens nothing
    answer = await prove(browser, asked, kind="totp", code=app.code())
    assert answer.status_code == 200, answer.text
    assert (await browser.get("/api/v1/me")).status_code == 200


async def test_a_secret_is_sealed_in_the_database_and_codes_are_hashed(somebody, store, clock):
    app, codes = await set_up(somebody, clock)
    async with begin_system(store) as tx:
        kept = await tx.all("select sealed_secret from totp_secrets")
        hashes = await tx.all("select code_hash from recovery_codes")
    assert app.generator.secret.encode() not in b"".join(row["sealed_secret"] for row in kept)
    assert {len(row["code_hash"]) for row in hashes} == {32}
    assert not any(code.encode() in row["code_hash"] for row in hashes for code in codes)


async def test_an_app_that_was_not_confirmed_counts_for_nothing(somebody, browsers, store, clock):
    await somebody.post(f"{FACTORS}/totp")
    assert (await somebody.get(FACTORS)).json()["enrolled"] == []
    answer = await browsers.new().sign_in(await email_of(store, somebody))
    assert answer.json()["session"] is not None


async def test_setting_up_again_before_the_first_code_takes_the_place_of_the_first(somebody, clock):
    first = (await somebody.post(f"{FACTORS}/totp")).json()
    app, _ = await set_up(somebody, clock)
    assert app.generator.secret != first["secret"]
    again = await somebody.post(f"{FACTORS}/totp")
    assert (again.status_code, again.json()["code"]) == (409, "factor-there")


async def test_a_code_passes_once_and_no_older_one_after_it(somebody, browsers, store, clock):
    app, _ = await set_up(somebody, clock)
    email = await email_of(store, somebody)
    older = app.code()
    used = app.code()
    browser, asked = await challenged(browsers, email)
    assert (await prove(browser, asked, kind="totp", code=used)).status_code == 200
    for code in (used, older):
        browser, asked = await challenged(browsers, email)
        refused = await prove(browser, asked, kind="totp", code=code)
        assert (refused.status_code, refused.json()["code"]) == (401, "sign-in-refused")
    browser, asked = await challenged(browsers, email)
    assert (await prove(browser, asked, kind="totp", code=app.code())).status_code == 200  # the positive control


async def test_the_code_that_confirmed_the_app_does_not_sign_in(somebody, browsers, store, clock):
    app, _ = await set_up(somebody, clock)
    browser, asked = await challenged(browsers, await email_of(store, somebody))
    assert (await prove(browser, asked, kind="totp", code=app.shown())).status_code == 401


async def test_of_many_requests_with_one_code_at_the_same_moment_one_passes(somebody, browsers, store, clock):
    app, _ = await set_up(somebody, clock)
    email = await email_of(store, somebody)
    waiting = [await challenged(browsers, email) for _ in range(4)]
    code = app.code()
    answers = await asyncio.gather(*(prove(browser, asked, kind="totp", code=code) for browser, asked in waiting))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_each_recovery_code_opens_once(somebody, browsers, store, clock):
    _, codes = await set_up(somebody, clock)
    email = await email_of(store, somebody)
    browser, asked = await challenged(browsers, email)
    assert (await prove(browser, asked, kind="recovery", code=codes[0].lower())).status_code == 200
    assert (await browser.get(FACTORS)).json()["recovery_codes_left"] == 9
    browser, asked = await challenged(browsers, email)
    assert (await prove(browser, asked, kind="recovery", code=codes[0])).status_code == 401
    waiting = [await challenged(browsers, email) for _ in range(3)]
    answers = await asyncio.gather(*(prove(each, asked, kind="recovery", code=codes[1]) for each, asked in waiting))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]


async def test_new_recovery_codes_make_the_old_ones_worthless(somebody, browsers, store, clock):
    _, old = await set_up(somebody, clock)
    new = (await somebody.post(f"{FACTORS}/recovery-codes")).json()["recovery_codes"]
    assert len(set(new) - set(old)) == 10
    browser, asked = await challenged(browsers, await email_of(store, somebody))
    assert (await prove(browser, asked, kind="recovery", code=old[3])).status_code == 401
    assert (await prove(browser, asked, kind="recovery", code=new[3])).status_code == 200


async def test_who_has_no_factor_gets_no_recovery_codes(somebody):
    answer = await somebody.post(f"{FACTORS}/recovery-codes")
    assert (answer.status_code, answer.json()["code"]) == (404, "factor-unknown")


async def test_codes_of_another_person_open_nothing(somebody, people, browsers, store, clock):
    app, codes = await set_up(somebody, clock)
    other = browsers.new()
    email = await people.email(await people.new())
    await other.sign_in(email)
    others_app, _ = await set_up(other, clock)
    code = app.code()
    browser, asked = await challenged(browsers, email)
    assert (await prove(browser, asked, kind="totp", code=code)).status_code == 401
    assert (await prove(browser, asked, kind="recovery", code=codes[0])).status_code == 401
    assert (await prove(browser, asked, kind="totp", code=others_app.shown())).status_code == 200


async def test_guessing_is_slowed_down_and_the_right_code_waits_too(somebody, browsers, store, clock):
    app, _ = await set_up(somebody, clock)
    clock.forward(seconds=30)
    email = await email_of(store, somebody)
    for _ in range(5):
        browser, asked = await challenged(browsers, email)
        assert (await prove(browser, asked, kind="totp", code=app.wrong())).status_code == 401
    browser, asked = await challenged(browsers, email)
    waits = await prove(browser, asked, kind="totp", code=app.shown())
    assert (waits.status_code, waits.json()["code"]) == (429, "too-many-attempts")
    assert 0 < int(waits.headers["retry-after"]) <= 31
    clock.forward(seconds=31)
    assert (await prove(browser, asked, kind="totp", code=app.shown())).status_code == 200


async def test_many_guesses_at_the_same_moment_are_no_more_than_one_by_one(somebody, browsers, store, clock):
    app, _ = await set_up(somebody, clock)
    email = await email_of(store, somebody)
    waiting = [await challenged(browsers, email) for _ in range(9)]
    answers = await asyncio.gather(*(prove(each, asked, kind="totp", code=app.wrong()) for each, asked in waiting))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 4


async def test_wrong_codes_at_the_set_up_are_counted_too(somebody, clock):
    made = (await somebody.post(f"{FACTORS}/totp")).json()
    app = App(made["secret"], clock)
    for _ in range(5):
        refused = await somebody.post(f"{FACTORS}/totp/confirm", json={"code": app.wrong()})
        assert (refused.status_code, refused.json()["code"]) == (422, "code-wrong")
    assert (await somebody.post(f"{FACTORS}/totp/confirm", json={"code": app.shown()})).status_code == 429


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/totp"), ("POST", "/totp/confirm"), ("DELETE", "/totp"), ("POST", "/recovery-codes"),
        ("POST", "/passkeys/options"), ("DELETE", "/passkeys/019a0000-0000-7000-8000-000000000000"),
    ],
)  # fmt: skip
async def test_a_key_or_an_old_sign_in_changes_no_factor(somebody, client, clock, method: str, path: str):
    body = {"json": {"code": "123456"}} if path.endswith("confirm") else {}
    by_key = await client.request(method, FACTORS + path, **body)
    assert (by_key.status_code, by_key.json()["code"]) == (403, "fresh-sign-in-needed")
    clock.forward(minutes=11)
    late = await somebody.send(method, FACTORS + path, **body)
    assert (late.status_code, late.json()["code"]) == (403, "fresh-sign-in-needed")


async def test_removing_the_last_factor_takes_the_recovery_codes_along(somebody, browsers, store, clock):
    await set_up(somebody, clock)
    assert (await somebody.send("DELETE", f"{FACTORS}/totp")).status_code == 204
    assert (await somebody.get(FACTORS)).json()["recovery_codes_left"] == 0
    assert (await browsers.new().sign_in(await email_of(store, somebody))).json()["session"] is not None
    assert (await somebody.send("DELETE", f"{FACTORS}/totp")).status_code == 404


async def test_the_last_factor_stays_where_the_organization_asks_for_one(somebody, client, clock):
    await set_up(somebody, clock)
    assert (await client.put(POLICY, json={"mfa_required": True})).status_code == 200
    kept = await somebody.send("DELETE", f"{FACTORS}/totp")
    assert (kept.status_code, kept.json()["code"]) == (409, "last-factor-kept")
    added = await add_passkey(somebody, Device(**HERE))
    assert added.status_code == 201, added.text
    assert (await somebody.send("DELETE", f"{FACTORS}/totp")).status_code == 204
    gone = await somebody.send("DELETE", f"{FACTORS}/passkeys/{added.json()['passkey']['id']}")
    assert gone.status_code == 409
    assert (await somebody.get(FACTORS)).json()["enrolled"] == ["passkey", "recovery"]


async def test_who_must_have_a_factor_may_do_nothing_but_set_one_up(people, browsers, client, clock):
    await client.put(POLICY, json={"mfa_required": True})
    browser = browsers.new()
    answer = await browser.sign_in(await people.email(await people.new()))
    assert answer.json()["session"]["restricted"] is True
    refused = await browser.get("/api/v1/projects")
    assert (refused.status_code, refused.json()["code"]) == (403, "second-factor-required")
    assert (await browser.get(FACTORS)).json()["required"] is True
    await set_up(browser, clock)
    assert (await browser.get("/api/v1/projects")).status_code == 200


async def test_members_have_the_days_of_grace(people, browsers, client, clock):
    await client.put(POLICY, json={"mfa_required": True, "mfa_grace_days": 7})
    email = await people.email(await people.new())
    assert (await browsers.new().sign_in(email)).json()["session"]["restricted"] is False
    clock.forward(days=6, hours=23)
    assert (await browsers.new().sign_in(email)).json()["session"]["restricted"] is False
    clock.forward(hours=2)
    assert (await browsers.new().sign_in(email)).json()["session"]["restricted"] is True


async def test_a_session_that_was_there_before_is_asked_too_and_one_that_showed_a_factor_goes_on(
    people, browsers, client, clock
):
    email = await people.email(await people.new())
    without, proved, elsewhere = browsers.new(), browsers.new(), browsers.new()
    await without.sign_in(await people.email(await people.new()))
    await elsewhere.sign_in(email)
    await proved.sign_in(email)
    await set_up(proved, clock)
    everywhere = [(await each.get("/api/v1/projects")).status_code for each in (without, proved, elsewhere)]
    assert everywhere == [200, 200, 200]

    await client.put(POLICY, json={"mfa_required": True})

    refused = await without.get("/api/v1/projects")
    assert (refused.status_code, refused.json()["code"]) == (403, "second-factor-required")
    assert (await proved.get("/api/v1/projects")).status_code == 200
    ended = await elsewhere.get("/api/v1/projects")  # its person has a factor, and did not show it there
    assert (ended.status_code, "Sign in again" in ended.json()["detail"]) == (401, True)
    await set_up(without, clock)
    assert (await without.get("/api/v1/projects")).status_code == 200


async def test_the_days_of_grace_end_for_sessions_that_are_there_too(people, browsers, client, clock):
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new()))
    await client.put(
        POLICY,
        json={"mfa_required": True, "mfa_grace_days": 1, "session_idle_s": 604_800, "session_absolute_s": 604_800},
    )
    clock.forward(hours=1)
    assert (await browser.get("/api/v1/projects")).status_code == 200
    await client.put(POLICY, json={"mfa_required": True, "mfa_grace_days": 0})
    assert (await browser.get("/api/v1/projects")).status_code == 403


async def test_the_policy_is_read_changed_and_guarded_against_the_slower(client, viewer):
    before = await client.get(POLICY)
    assert before.json() == {
        "mfa_required": False, "mfa_required_since": None, "mfa_grace_days": 0, "password_allowed": True,
        "link_by_verified_domain": False, "session_idle_s": None, "session_absolute_s": None, "version": 0,
    }  # fmt: skip
    first = await client.put(POLICY, json={"session_idle_s": 900}, headers={"If-Match": before.headers["etag"]})
    assert (first.json()["session_idle_s"], first.json()["version"]) == (900, 1)
    second = await client.put(POLICY, json={"session_idle_s": 800}, headers={"If-Match": before.headers["etag"]})
    assert second.status_code == 412
    assert (await viewer.get(POLICY)).json() == first.json()
    assert (await viewer.put(POLICY, json={})).status_code == 403
    wrong = await client.put(POLICY, json={"mfa_grace_days": 91})
    assert wrong.status_code == 422


async def test_sessions_hold_as_long_as_the_organization_says(people, browsers, client, clock):
    await client.put(POLICY, json={"session_idle_s": 600, "session_absolute_s": 3600})
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new()))
    assert (await browser.get("/api/v1/me")).status_code == 200
    clock.forward(seconds=700)
    assert (await browser.get("/api/v1/me")).status_code == 401


async def test_nobody_forbids_passwords_and_locks_himself_out(people, browsers, clock):
    owner = browsers.new()
    email = await people.email(await people.new(role="owner"))
    await owner.sign_in(email)
    kept = await owner.send("PUT", POLICY, json={"password_allowed": False})
    assert (kept.status_code, kept.json()["code"]) == (409, "last-way-in-kept")
    await add_passkey(owner, Device(**HERE))
    assert (await owner.send("PUT", POLICY, json={"password_allowed": False})).status_code == 200
    refused = await browsers.new().sign_in(email)
    assert (refused.status_code, refused.json()["code"]) == (401, "sign-in-refused")


@pytest.mark.parametrize("role", ["developer", "admin"])
async def test_an_admin_resets_the_factors_of_who_lost_them(people, browsers, clients, store, clock, owner, role: str):
    member = await people.new(role=role)
    browser = browsers.new()
    await browser.sign_in(await people.email(member))
    await set_up(browser, clock)
    await add_passkey(browser, Device(**HERE))
    admin = await clients.with_key(owner.organization_id, ROLES["admin"], role="admin")
    assert (await admin.delete(f"/api/v1/members/{member.id}/factors")).status_code == 204
    assert (await browser.get(FACTORS)).json() == {
        "required": False, "enrolled": [], "totp_since": None, "passkeys": [], "recovery_codes_left": 0,
    }  # fmt: skip


async def test_nobody_resets_the_factors_of_somebody_above_or_elsewhere(
    people, browsers, clients, stranger, clock, owner
):
    boss = await people.new(role="owner")
    browser = browsers.new()
    await browser.sign_in(await people.email(boss))
    await set_up(browser, clock)
    path = f"/api/v1/members/{boss.id}/factors"
    admin = await clients.with_key(owner.organization_id, ROLES["admin"], role="admin")
    refused = await admin.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
    developer = await clients.with_key(owner.organization_id, ROLES["developer"], role="developer")
    assert (await developer.delete(path)).status_code == 403
    assert (await stranger.delete(path)).status_code == 404
    assert (await browser.get(FACTORS)).json()["enrolled"] == ["recovery", "totp"]
