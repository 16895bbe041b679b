"""What ends in one process is over in every other: two applications on one database, each with open streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.access.people import disable_member, enable_member
from shopfloor.infra.tx import begin
from signed_in import PASSWORD, Browsers, People


@dataclass
class Process:
    """One API process: its own pools, its own wake-ups, its own ring of keys."""

    parts: Parts
    app: FastAPI
    browsers: Browsers

    async def status(self, path: str = "me", **headers: str) -> int:
        return (await self.browsers.new().get(f"/api/v1/{path}", headers=headers)).status_code


@pytest.fixture
async def two(database_url: str, tmp_path) -> AsyncIterator[tuple[Process, Process]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(_process(database_url, tmp_path / "one")),
            await stack.enter_async_context(_process(database_url, tmp_path / "two")),
        )


@asynccontextmanager
async def _process(url: str, home) -> AsyncIterator[Process]:
    async with open_parts(load({"SHOPFLOOR_HOME": str(home)}, database={"url": url}, secrets=_SAME_KEY)) as parts:
        app = create_app(parts)
        browsers = Browsers(app)
        yield Process(parts, app, browsers)
        for http in browsers.open:
            await http.aclose()


_SAME_KEY = {"master_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}  # 0 to 31: visibly fake


@pytest.fixture
async def people(two: tuple[Process, Process]) -> People:
    parts = two[0].parts
    return People(parts.store, parts.accounts, await local_owner(parts.store))


@pytest.fixture
async def job_id(people: People) -> str:
    """A job that somebody can watch."""
    job = new_id()
    async with begin(people.store, people.owner) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by) "
            "select %s, organization_id, id, 'coding', 'x', 'mock/x', '{}', %s from projects limit 1",
            (job, people.owner.id),
        )
    return str(job)


async def _everything(process: Process, people: People, who: Principal) -> dict[str, dict[str, str]]:
    """One credential of each kind, as the headers that carry it."""
    email = await people.email(who)
    browser = process.browsers.new()
    assert (await browser.sign_in(email)).status_code == 200
    body = {"email": email, "password": PASSWORD, "kind": "token"}
    tokens = (await process.browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]
    return {
        "cookie": {"Cookie": f"shopfloor={browser.http.cookies['shopfloor']}"},
        "token": {"Authorization": f"Bearer {tokens['access_token']}"},
        "key": {"Authorization": f"Bearer {await people.key(who, permissions=['job.read'])}"},
        "refresh": {"refresh_token": tokens["refresh_token"]},
    }


async def test_a_disabled_person_is_out_of_every_process_by_every_way(
    two: tuple[Process, Process], people: People, job_id: str
):
    here, there = two
    somebody, colleague = await people.new(), await people.new()
    ways = await _everything(here, people, somebody)
    others = await _everything(here, people, colleague)
    ticket = await here.browsers.new().http.post("/api/v1/auth/ws-ticket", headers=ways["key"])
    assert ticket.status_code == 201
    streams = [await _watch(there, job_id, ways[name]) for name in ("cookie", "token", "key")]
    kept = await _watch(there, job_id, others["key"])
    for name in ("cookie", "token", "key"):
        assert await there.status(**ways[name]) == 200, name

    await people.disable(somebody)

    for name in ("cookie", "token", "key"):
        assert (await here.status(**ways[name]), await there.status(**ways[name])) == (401, 401), name
    for process in two:
        refresh = await process.browsers.new().post("/api/v1/auth/token/refresh", json=ways["refresh"])
        assert refresh.status_code == 401
        again = {"email": await people.email(somebody), "password": PASSWORD}
        assert (await process.browsers.new().post("/api/v1/auth/sign-in", json=again)).status_code == 401
    async with asyncio.timeout(5):  # by a wake-up, not by the next period of 30 s
        for stream in streams:
            await stream
    assert not kept.done()  # the positive control: a colleague watches on
    assert await there.status(**others["cookie"]) == 200
    kept.cancel()


async def test_who_is_enabled_again_signs_in_anew(two: tuple[Process, Process], people: People):
    here, there = two
    somebody = await people.new()
    ways = await _everything(here, people, somebody)
    for verb in (disable_member, enable_member):
        async with begin(here.parts.store, people.owner) as tx:
            await verb(tx, somebody.id)
    assert [await there.status(**ways[name]) for name in ("cookie", "token", "key")] == [401, 401, 200]
    again = {"email": await people.email(somebody), "password": PASSWORD}
    assert (await there.browsers.new().post("/api/v1/auth/sign-in", json=again)).status_code == 200


async def test_signing_out_everywhere_ends_the_sessions_of_every_process(
    two: tuple[Process, Process], people: People, job_id: str
):
    here, there = two
    somebody = await people.new()
    email = await people.email(somebody)
    ways = await _everything(there, people, somebody)
    browser = here.browsers.new()
    await browser.sign_in(email)
    stream = await _watch(there, job_id, ways["token"])
    ended = await browser.post("/api/v1/auth/sign-out-everywhere")
    assert ended.json() == {"ended": 3}
    assert (await browser.get("/api/v1/me")).status_code == 401
    assert [await there.status(**ways[name]) for name in ("cookie", "token", "key")] == [401, 401, 200]
    async with asyncio.timeout(5):
        await stream


async def test_signing_out_ends_that_session_alone(two: tuple[Process, Process], people: People):
    here, there = two
    somebody = await people.new()
    ways = await _everything(there, people, somebody)
    browser = here.browsers.new()
    await browser.sign_in(await people.email(somebody))
    secret = browser.http.cookies["shopfloor"]
    answer = await browser.post("/api/v1/auth/sign-out")
    assert (answer.status_code, "Max-Age=0" in answer.headers["set-cookie"]) == (204, True)
    assert await there.status(Cookie=f"shopfloor={secret}") == 401
    assert await there.status(**ways["cookie"]) == 200


async def test_a_revoked_key_closes_its_stream_in_another_process(
    two: tuple[Process, Process], people: People, job_id: str
):
    here, there = two
    key_id = new_id()
    key = {"Authorization": f"Bearer {await people.key(people.owner, id=key_id, permissions=['job.read'])}"}
    stream = await _watch(there, job_id, key)
    editor = await people.key(people.owner, permissions=["key.edit"])
    bearer = {"Authorization": f"Bearer {editor}"}
    assert (await here.browsers.new().http.delete(f"/api/v1/api-keys/{key_id}", headers=bearer)).status_code == 204
    async with asyncio.timeout(5):
        await stream


async def test_an_admin_ends_somebodys_sessions_and_their_keys_go_on(two: tuple[Process, Process], people: People):
    here, there = two
    somebody, admin = await people.new(), await people.new(role="admin")
    ways = await _everything(there, people, somebody)
    browser = here.browsers.new()
    await browser.sign_in(await people.email(admin))
    ended = await browser.send("DELETE", f"/api/v1/members/{somebody.id}/sessions")
    assert ended.json() == {"ended": 2}
    assert [await there.status(**ways[name]) for name in ("cookie", "token", "key")] == [401, 401, 200]
    unknown = await browser.send("DELETE", f"/api/v1/members/{new_id()}/sessions")
    assert unknown.status_code == 404


async def test_a_key_rotated_for_tokens_is_known_to_another_process_at_once(
    two: tuple[Process, Process], people: People
):
    from shopfloor.domain.accounts.signing import rotate_signing_key

    here, there = two
    email = await people.email(await people.new())
    body = {"email": email, "password": PASSWORD, "kind": "token"}
    before = (await here.browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]
    assert await there.status(Authorization=f"Bearer {before['access_token']}") == 200  # its ring is read
    for _ in range(2):  # past the `next` one that it knows already
        await rotate_signing_key(here.parts.store, here.parts.sealer)
    await there.parts.ring.reload()
    after = (await here.browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]
    for session in (before, after):
        assert await there.status(Authorization=f"Bearer {session['access_token']}") == 200


async def _watch(process: Process, job_id: str, headers: dict[str, str]) -> asyncio.Task[None]:
    """An open event stream; the task ends when the server ends it."""
    begun = asyncio.Event()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": f"/api/v1/jobs/{job_id}/events", "raw_path": b"", "query_string": b"", "root_path": "",
        "client": ("127.0.0.1", 40_000), "server": ("127.0.0.1", 8321),
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in ({"Host": "127.0.0.1:8321", "Accept": "text/event-stream"} | headers).items()
        ],
    }  # fmt: skip
    status: list[int] = []

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])
        elif message.get("body"):
            begun.set()

    async def receive():
        await asyncio.Event().wait()

    async def run() -> None:
        await process.app(scope, receive, send)

    task = asyncio.create_task(run())
    await asyncio.wait({task, asyncio.ensure_future(begun.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert status == [200]
    return task
