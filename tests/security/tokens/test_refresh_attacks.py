"""Stolen, raced and borrowed refresh tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shopfloor.infra.tx import begin, begin_system
from signed_in import PASSWORD, Ground

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def session_of(here: Ground) -> dict[str, Any]:
    email = await here.people.email(await here.people.new())
    body = {"email": email, "password": PASSWORD, "kind": "token"}
    return (await here.browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]


async def refreshed(here: Ground, token: str) -> tuple[int, dict[str, Any]]:
    answer = await here.browsers.new().post("/api/v1/auth/token/refresh", json={"refresh_token": token})
    return answer.status_code, answer.json()


async def works(here: Ground, session: dict[str, Any]) -> bool:
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    return (await here.browsers.new().get("/api/v1/me", headers=headers)).status_code == 200


async def later(here: Ground, session: dict[str, Any]) -> None:
    """The ten seconds for tabs that race are over."""
    async with begin(here.store, here.people.owner) as tx:
        await tx.execute(
            "update refresh_tokens set used_at = used_at - interval '11 seconds' where session_id = %s",
            (session["id"],),
        )


async def test_a_token_is_good_once_and_gives_the_next(here: Ground):
    first = await session_of(here)
    status, second = await refreshed(here, first["refresh_token"])
    assert status == 200
    assert (second["id"], second["ends_at"]) == (first["id"], first["ends_at"])
    assert second["refresh_token"] != first["refresh_token"]
    assert (await refreshed(here, second["refresh_token"]))[0] == 200
    assert await works(here, second)


async def test_a_stolen_token_that_is_used_again_ends_the_whole_family(here: Ground):
    first = await session_of(here)
    _, second = await refreshed(here, first["refresh_token"])
    await later(here, first)
    assert (await refreshed(here, first["refresh_token"]))[0] == 401  # the thief, or the victim: nobody can tell
    assert (await refreshed(here, second["refresh_token"]))[0] == 401
    assert not await works(here, second)
    assert not await works(here, first)


async def test_a_session_that_has_lived_its_time_is_not_refreshed(here: Ground):
    session, other = await session_of(here), await session_of(here)
    async with begin(here.store, here.people.owner) as tx:
        await tx.execute("update sessions set ends_at = now() - interval '1 second' where id = %s", (session["id"],))
    assert (await refreshed(here, session["refresh_token"]))[0] == 401
    assert (await refreshed(here, other["refresh_token"]))[0] == 200


async def test_two_tabs_at_the_same_moment_do_not_end_it(here: Ground):
    first = await session_of(here)
    answers = await asyncio.gather(*(refreshed(here, first["refresh_token"]) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]
    assert {body["code"] for status, body in answers if status == 409} == {"refresh-raced"}
    [won] = [body for status, body in answers if status == 200]
    assert (await refreshed(here, won["refresh_token"]))[0] == 200


async def test_nobody_ends_another_ones_family(here: Ground):
    mine, theirs = await session_of(here), await session_of(here)
    _, next_of_theirs = await refreshed(here, theirs["refresh_token"])
    await later(here, theirs)
    await refreshed(here, theirs["refresh_token"])
    assert not await works(here, next_of_theirs)
    assert await works(here, mine)
    assert (await refreshed(here, mine["refresh_token"]))[0] == 200


@pytest.mark.parametrize(
    "token",
    ["A" * 43, "short", "' or 1=1 --", "../../etc", "A" * 44, "A" * 42 + "=", "A" * 42 + "\u00e9"],
    ids=["made up", "short", "SQL", "path", "long", "padded", "not ASCII"],
)
async def test_what_is_no_token_of_ours_refreshes_nothing(here: Ground, token: str):
    status, body = await refreshed(here, token)
    assert (status, body["code"]) == (401, "not-signed-in")


async def test_an_access_token_is_no_refresh_token_and_the_other_way_round(here: Ground):
    session = await session_of(here)
    assert (await refreshed(here, session["access_token"]))[0] in {401, 422}
    assert not await works(here, session | {"access_token": session["refresh_token"]})
    assert await works(here, session)


async def test_a_browsers_session_has_no_tokens(here: Ground):
    browser = here.browsers.new()
    await browser.sign_in(await here.people.email(await here.people.new()))
    assert (await refreshed(here, browser.http.cookies["shopfloor"]))[0] == 401


async def test_the_secrets_of_the_database_open_nothing(here: Ground):
    """Whoever reads a dump has hashes alone."""
    session = await session_of(here)
    async with begin_system(here.store) as tx:
        rows = await tx.all("select token_hash from refresh_tokens where session_id = %s", (session["id"],))
        found = await tx.one("select secret_hash from sessions where id = %s", (session["id"],))
    assert found is not None
    for stored in (*(row["token_hash"] for row in rows), found["secret_hash"]):
        assert len(stored) == 32
        assert (await refreshed(here, bytes(stored).hex()[:43]))[0] == 401
