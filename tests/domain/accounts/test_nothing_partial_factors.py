"""A failure at each statement of the flows of second factors and single sign-on, asked over HTTP.

Whatever fails, nothing of what counts has changed: no session without its factor, no code used for nothing, no account
or identity by halves. What only counts attempts, or uses up a challenge, may have: it is meant to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import httpx2
import pyotp
import pytest

from domain.accounts.fake_identity_provider import FakeIdentityProvider
from domain.accounts.moving_clock import MovingClock
from domain.accounts.software_authenticator import Device
from domain.accounts.sso_ground import DOMAIN, Journey, Sso, fake_provider, sso_app
from domain.accounts.test_nothing_partial import Broken, Fused, fused
from shopfloor.domain.access.first_start import first_start, local_owner
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.infra.telemetry import LogSettings, configure_logging
from shopfloor.infra.tx import Store, begin_system
from signed_in import Browser, Browsers, Ground, People, make_app

__all__ = ["fused"]

FACTORS = "/api/v1/me/factors"
HERE = {"origin": "http://127.0.0.1:8321", "rp_id": "127.0.0.1"}
COUNTS = ("users", "sessions", "totp_secrets", "recovery_codes", "passkeys", "used_challenges", "identities")

Request = Callable[[], Awaitable[httpx2.Response]]
Flow = Callable[[], Awaitable[Request]]  # prepared anew for each try, with nothing failing


@dataclass
class World:
    """An application on connections that fail when they are told to, and somebody who is signed in to it."""

    sso: Sso
    clock: MovingClock
    provider: FakeIdentityProvider
    email: str
    browser: Browser

    async def app(self) -> pyotp.TOTP:
        made = await self.browser.post(f"{FACTORS}/totp")
        assert made.status_code == 201, made.text
        return pyotp.TOTP(made.json()["secret"])

    async def enrolled(self) -> tuple[pyotp.TOTP, list[str]]:
        app = await self.app()
        confirmed = await self.browser.post(f"{FACTORS}/totp/confirm", json={"code": app.at(self.clock.now())})
        assert confirmed.status_code == 200, confirmed.text
        return app, confirmed.json()["recovery_codes"]

    async def challenged(self) -> tuple[Browser, str]:
        """A browser whose password was right, and the challenge that it got."""
        self.clock.forward(seconds=30)
        browser = self.sso.browser()
        asked = (await browser.sign_in(self.email)).json()
        assert asked["session"] is None, asked
        return browser, asked["second_factor"]["challenge"]

    async def options(self) -> dict[str, object]:
        return (await self.browser.post(f"{FACTORS}/passkeys/options")).json()


@pytest.fixture
async def world(fused: AccountsDesk) -> AsyncIterator[World]:
    configure_logging(LogSettings(level="warning"))  # lines: the console's pictures of tracebacks take seconds each
    await first_start(fused.store, fused.sealer)
    fused.store.services.clock = clock = MovingClock()
    people, app = People(fused.store, fused, await local_owner(fused.store)), make_app(fused.store, fused)
    browsers = Browsers(app)
    sso = sso_app(Ground(fused.store, app, people, browsers, fused))
    email, browser = await people.email(await people.new()), sso.browser()
    with fake_provider() as provider:
        assert (await browser.sign_in(email)).status_code == 200
        yield World(sso, clock, provider, email, browser)
    for http in browsers.open:
        await http.aclose()


async def _confirm(world: World) -> Flow:
    async def prepared() -> Request:
        body = {"code": (await world.app()).at(world.clock.now())}
        return lambda: world.browser.post(f"{FACTORS}/totp/confirm", json=body)

    return prepared


async def _code(world: World) -> Flow:
    app, _ = await world.enrolled()

    async def prepared() -> Request:
        browser, challenge = await world.challenged()
        body = {"challenge": challenge, "kind": "totp", "code": app.at(world.clock.now())}
        return lambda: browser.post("/api/v1/auth/second-factor", json=body)

    return prepared


async def _recovery(world: World) -> Flow:
    _, codes = await world.enrolled()

    async def prepared() -> Request:
        browser, challenge = await world.challenged()
        body = {"challenge": challenge, "kind": "recovery", "code": codes[0]}  # the same at each try: none was used
        return lambda: browser.post("/api/v1/auth/second-factor", json=body)

    return prepared


async def _add_passkey(world: World) -> Flow:
    async def prepared() -> Request:
        body = {"name": "laptop", "credential": Device(**HERE).create(await world.options())}
        return lambda: world.browser.post(f"{FACTORS}/passkeys", json=body)

    return prepared


async def _by_passkey(world: World) -> Flow:
    device = Device(**HERE)
    body = {"name": "laptop", "credential": device.create(await world.options())}
    assert (await world.browser.post(f"{FACTORS}/passkeys", json=body)).status_code == 201

    async def prepared() -> Request:
        browser = world.sso.browser()
        credential = device.get((await browser.post("/api/v1/auth/passkeys/options")).json())
        return lambda: browser.post("/api/v1/auth/passkeys/sign-in", json={"credential": credential})

    return prepared


async def _remove(world: World) -> Flow:
    await world.enrolled()

    async def prepared() -> Request:
        return lambda: world.browser.send("DELETE", f"{FACTORS}/totp")

    return prepared


async def _by_provider(world: World) -> Flow:
    """The first time: an account is made."""
    provider_id = await world.sso.add(world.provider)
    await world.sso.prove(DOMAIN)

    async def prepared() -> Request:
        way = Journey(world.sso.browser(), provider_id)
        query = await way.agree((await way.start()).headers["location"])
        return lambda: way.back(query)

    return prepared


async def _link(world: World) -> Flow:
    provider_id = await world.sso.add(world.provider)

    async def prepared() -> Request:
        begun = await world.browser.post("/api/v1/me/identities", json={"identity_provider_id": str(provider_id)})
        assert begun.status_code == 200, begun.text
        way = Journey(world.browser, provider_id)
        query = await way.agree(begun.json()["url"])
        return lambda: way.back(query)

    return prepared


FLOWS = {
    "confirm an app": _confirm, "sign in by a code": _code, "sign in by a recovery code": _recovery,
    "add a passkey": _add_passkey, "sign in by a passkey": _by_passkey, "remove an app": _remove,
    "sign in by a provider": _by_provider, "link an identity": _link,
}  # fmt: skip


@pytest.mark.parametrize("name", FLOWS)
async def test_a_failure_at_any_statement_changes_nothing_that_counts(world: World, fused: AccountsDesk, name: str):
    prepared = await FLOWS[name](world)
    for failures in count():
        ask = await prepared()
        before = await _state(fused.store)
        Fused.left = failures
        try:
            answer = await ask()
        except Broken:
            answer = None
        Fused.left, left = None, Fused.left
        after = await _state(fused.store)
        if left is not None and left >= 0:  # it went through before its statement came
            break
        assert answer is None or answer.status_code == 500, answer.text
        assert after == before, f"statement {failures}"
        assert failures < 60
    assert failures >= 5  # it did fail on its way
    assert answer is not None
    assert answer.status_code < 400, answer.text
    assert after != before


async def _state(store: Store) -> dict[str, str]:
    """Every row of what counts."""
    state: dict[str, str] = {}
    async with begin_system(store) as tx:
        for table in COUNTS:
            cursor = await tx.connection.execute(
                f"select string_agg(t::text, '|' order by t::text) as it from {table} t"
            )
            row = await cursor.fetchone()
            assert row is not None
            state[table] = row["it"] or ""
    return state
