"""Every route x every kind of caller x own and another's organization, walked from the application itself.

What has to come out is computed from the one table of permissions. A route that names no permission fails the walk, and
so does one with a path parameter that the two organizations of `matrix_world` have no value for: add it there.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute

from security.api.matrix_world import Caller, World, build
from security.api.routes import OPEN
from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import SIGNED_IN, Require
from shopfloor.infra.tx import begin, begin_system
from shopfloor.infra.web.rate_limiting import LimitsSettings

# Asked of nobody, an open route says what is wrong with the request, or that whoever it is has to prove it.
OPEN_ANSWERS = {200, 202, 303, 401, 404, 422}
OF_A_SESSION = {  # reads that a key has no answer to: what they show belongs to a session
    "GET /api/v1/me/sessions": (403, 200),  # with a key, with an access token
    "GET /api/v1/auth/csrf": (404, 404),  # with a cookie alone
}
# They end the session that asks: each has its own tests in security/tokens.
ENDING = {"POST /api/v1/auth/sign-out", "POST /api/v1/auth/sign-out-everywhere"}
ALSO = {  # what the verb asks for beyond the route's own permission, in the same project
    "GET /api/v1/environments/{environment_id}/jobs": "job.read",
    "GET /api/v1/releases/{release_id}/jobs": "job.read",
    "GET /api/v1/sprints/{sprint_id}/jobs": "job.read",
    "POST /api/v1/dead-letters/{letter_id}/requeue": "deadletter.read",  # who may not see it gets 404
    "POST /api/v1/dead-letters/{letter_id}/discard": "deadletter.read",
}
BODIES: dict[str, Any] = {  # where an empty object isn't enough to come as far as the id in the path
    "PUT /api/v1/projects/{project}/grants/{holder_id}": {"role": "member"},
    "POST /api/v1/jobs/{job_id}/fork": {"before_turn": 1},
    "POST /api/v1/budgets/{budget_id}/raises": {"amount_usd": "1", "for_hours": 1, "reason": "x"},
    "POST /api/v1/dead-letters/{letter_id}/discard": {"reason": "x"},
}
IN_A_PROJECT = {
    "projects",
    "jobs",
    "artifacts",
    "approvals",
    "environments",
    "releases",
    "sprints",
    "secrets",
    "budgets",
    "dead-letters",
}  # collections of the path
GLOBAL = {"agents/name"}  # the same for every organization
PASSED = {
    200,
    201,
    202,
    204,
    404,
    409,
    412,
    422,
}  # let in, and then refused for what was asked, or by whoever was quicker
AT_ONCE = 8


@dataclass(frozen=True)
class Place:
    """One route and method."""

    method: str  # or WEBSOCKET
    path: str
    need: Require | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def keys(self) -> list[str]:
        """`collection/parameter` of each path parameter."""
        collection = self.path.removeprefix("/api/v1/").partition("/")[0]
        return [f"{collection}/{name}" for name in re.findall(r"{(\w+)}", self.path)]

    def filled(self, values: list[str]) -> str:
        parts = iter(values)
        return re.sub(r"{\w+}", lambda _: next(parts), self.path)


def walk(routes: Any) -> Iterator[Place]:
    for route in routes:
        if (inner := getattr(route, "original_router", None)) is not None:
            yield from walk(inner.routes)
        elif isinstance(route, APIWebSocketRoute):
            yield Place("WEBSOCKET", route.path, _need(route.dependant))
        elif isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield Place(method, route.path, _need(route.dependant))


def _need(dependant: Dependant) -> Require | None:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Require):
            return dependency.call
        if (found := _need(dependency)) is not None:
            return found
    return None


@pytest.fixture
def home() -> Iterator[Path]:
    """Not below pytest's folder: the database's own user has to pass."""
    with tempfile.TemporaryDirectory(prefix="sf-matrix-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
async def parts(home: Path, database_url: str) -> AsyncIterator[Parts]:
    # Thousands of requests are not worth a line each, and a traceback takes longer than all the rest.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    unlimited = dict.fromkeys(LimitsSettings.model_fields.keys() - {"organizations"}, 0)
    settings = load(
        {"SHOPFLOOR_HOME": str(home)}, database={"url": database_url, "pool_size": AT_ONCE}, limits=unlimited
    )
    async with open_parts(settings) as opened:
        yield opened


class Matrix:
    """The application, its places, and what came out otherwise than it should."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://localhost"
        )
        every = list(walk(app.routes))
        self.open = [place for place in every if place.need is None]
        self.places = [place for place in every if place.need is not None]
        self.counted = Counter[str]()
        self.wrong: list[str] = []
        self._room = asyncio.Semaphore(AT_ONCE)

    async def ask(self, kind: str, place: Place, values: list[str], header: str | None, expected: set[int]) -> None:
        async with self._room:
            status = await self._status(place, place.filled(values), header)
        self.counted[kind] += 1
        if status not in expected:
            self.wrong.append(f"{kind}: {place.name}: {status}, not {sorted(expected)}")

    async def _status(self, place: Place, path: str, header: str | None) -> int:
        headers = {} if header is None else {"Authorization": header}
        if place.method == "WEBSOCKET":
            return await _opened(self.app, path, headers)
        body = BODIES.get(place.name, {}) if place.method in {"POST", "PUT", "PATCH"} else None
        return (await self.http.request(place.method, path, headers=headers, json=body)).status_code


async def _opened(app: FastAPI, path: str, headers: dict[str, str]) -> int:
    """101 for a WebSocket that is accepted, else the status it is denied with."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive() -> dict[str, Any]:
        if answered.done():
            return {"type": "websocket.disconnect", "code": 1000}
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if not answered.done():
            told = {"websocket.accept": 101, "websocket.close": 403}.get(message["type"], message.get("status"))
            answered.set_result(told)

    sent = [(b"host", b"localhost"), *((name.lower().encode(), value.encode()) for name, value in headers.items())]
    scope = {
        "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": sent,
        "client": ("127.0.0.1", 1), "server": ("localhost", 80), "scheme": "ws", "subprotocols": [],
        "extensions": {"websocket.http.response": {}}, "asgi": {"version": "3.0"},
    }  # fmt: skip
    await app(scope, receive, send)
    return await answered


def own(place: Place, caller: Caller, world: World) -> set[int]:
    """What has to come out of a read with the ids of one's own organization."""
    assert place.need is not None
    may, permission = caller.may, place.need.permission
    if not let_in(place, caller):
        return {403}
    if place.name in OF_A_SESSION:
        return {OF_A_SESSION[place.name][may.session_id is not None]}
    if permission == SIGNED_IN or not place.keys:
        return {200}
    collection = place.keys[0].partition("/")[0]
    # A key that is limited to projects sees keys limited to the same only.
    limited = collection == "api-keys" and may.project_ids is not None
    if limited or (collection in IN_A_PROJECT and not may.allows(permission, world.project)):
        return {404}
    if (also := ALSO.get(place.name)) is not None and not may.allows(also, world.project):
        return {403}
    return {101} if place.method == "WEBSOCKET" else {200}


def let_in(place: Place, caller: Caller) -> bool:
    """Whether the route's own permission lets the caller in."""
    assert place.need is not None
    may, need = caller.may, place.need
    if need.permission == SIGNED_IN:
        return True
    if need.whole_organization:
        return may.allows(need.permission) and may.project_ids is None
    return may.allows_somewhere(need.permission)


async def test_every_route_answers_every_caller_as_the_table_of_permissions_says(parts: Parts):
    matrix = Matrix(create_app(parts))
    mine, theirs = await build(parts, operator=True), await build(parts, operator=False)
    assert {place.name for place in matrix.open} == set(OPEN), "routes without a permission"
    known = mine.ids.keys()
    assert {key for place in matrix.places for key in place.keys} <= known, "path parameters without a value"
    before = await _everything_of(parts, theirs)

    async with matrix.http, asyncio.TaskGroup() as asking:
        for place in matrix.open:
            values = [_nothing(key) for key in place.keys]
            asking.create_task(matrix.ask("open", place, values, None, OPEN_ANSWERS))
        for place in matrix.places:
            values = [mine.ids[key] for key in place.keys]
            asking.create_task(matrix.ask("nobody", place, values, None, {401}))
            for caller in mine.callers:
                for case in _cases(matrix, place, caller, mine, theirs):
                    asking.create_task(case)
            for caller in theirs.callers:
                if caller.name == "owner" and place.method in {"GET", "WEBSOCKET"}:  # the control: it is there for them
                    own_values = [theirs.ids[key] for key in place.keys]
                    expected = own(place, caller, theirs)
                    asking.create_task(matrix.ask("control", place, own_values, caller.header, expected))

    print(f"\n{len(matrix.places)} routes, {sum(matrix.counted.values())} cases: {dict(matrix.counted)}")
    assert matrix.wrong == [], "\n".join(matrix.wrong)
    assert _unrecorded(await _everything_of(parts, theirs)) == _unrecorded(before)
    assert await _on_record(parts, theirs) <= {caller.may.user_id for caller in theirs.callers}
    assert matrix.counted["own"] > 900
    assert matrix.counted["foreign"] > 500


def _cases(matrix: Matrix, place: Place, caller: Caller, mine: World, theirs: World) -> Iterator[Any]:
    if place.name in ENDING and caller.may.session_id is not None:
        return
    if place.method in {"GET", "WEBSOCKET"}:
        values = [mine.ids[key] for key in place.keys]
        yield matrix.ask("own", place, values, caller.header, own(place, caller, mine))
    else:  # of nothing that exists: whoever is let in changes nothing, and the next caller finds the same world
        values = [_nothing(key) for key in place.keys]
        yield matrix.ask("own", place, values, caller.header, _refusals(place, caller, PASSED))
    if not place.keys or set(place.keys) <= GLOBAL:
        return
    foreign = [theirs.ids[key] for key in place.keys]
    yield matrix.ask("foreign", place, foreign, caller.header, _refusals(place, caller, {404}))
    if len(foreign) > 1 and place.method != "GET":  # mine first, then something of theirs
        mixed = [mine.ids[place.keys[0]], *foreign[1:]]
        yield matrix.ask("foreign", place, mixed, caller.header, _refusals(place, caller, {404}))


def _refusals(place: Place, caller: Caller, passed: set[int]) -> set[int]:
    """What may come out of a change; what is a person's own wants that person, and no key of theirs."""
    assert place.need is not None
    if not let_in(place, caller):
        return {403}
    return passed | {403} if place.need.permission == SIGNED_IN and caller.may.session_id is None else passed


def _nothing(key: str) -> str:
    return "no-such-role" if key == "roles/name" else str(new_id())


async def _everything_of(parts: Parts, world: World) -> dict[str, str]:
    """A fingerprint of each table's rows of one organization, but for when keys were last used."""
    async with begin_system(parts.store) as tx:
        tables = await tx.all(
            "select table_name as name from information_schema.columns where column_name = 'organization_id' "
            "and table_schema = 'public' order by 1"
        )
        found: dict[str, str] = {}
        for table in tables:
            rows = await tx.all(
                f"select (to_jsonb(t) - 'last_used_at' - 'last_used_address')::text as row from {table['name']} t "  # type: ignore[arg-type]
                "where organization_id = %s order by 1",
                (world.organization_id,),
            )
            found[table["name"]] = hashlib.sha256("\n".join(row["row"] for row in rows).encode()).hexdigest()
    return found


def _unrecorded(tables: dict[str, str]) -> dict[str, str]:
    """Without the audit trail: that somebody was refused a change is itself recorded."""
    return {name: rows for name, rows in tables.items() if not name.startswith("audit_")}


async def _on_record(parts: Parts, world: World) -> set[UUID]:
    """Which people did something in this organization, as its audit trail tells."""
    async with begin_system(parts.store) as tx:
        rows = await tx.all(
            "select distinct user_id from audit_entries where organization_id = %s and user_id is not null",
            (world.organization_id,),
        )
    return {row["user_id"] for row in rows}


async def test_a_viewer_cancels_no_job_and_is_told_what_is_missing_and_who_can_give_it(parts: Parts):
    matrix = Matrix(create_app(parts))
    world = await build(parts, operator=True)
    [viewer] = [each for each in world.callers if each.name == "viewer"]
    path = f"/api/v1/jobs/{world.ids['jobs/job_id']}/cancel"
    async with matrix.http:
        refused = await matrix.http.post(path, headers={"Authorization": viewer.header})
    assert refused.status_code == 403
    assert refused.json()["facts"] == {
        "permission": "job.cancel",
        "given_by": {"roles": ["owner", "admin"], "people": ["Owner", "owner", "admin"]},
    }


HIDING = {
    "by visibility": {"visibility": "private"},
    "by e-mail domain": {"email_domains": ["elsewhere.example.net"]},
    "by address": {"ip_ranges": ["192.0.2.0/24"]},
}


async def test_no_route_shows_or_changes_what_is_out_of_a_persons_reach(parts: Parts):
    """Whatever a role may: a project that is hidden from its holder is not there, by any route."""
    matrix = Matrix(create_app(parts))
    world = await build(parts, operator=True)
    callers = [each for each in world.callers if each.name in {"manager", "developer", "viewer"}]
    places = [each for each in matrix.places if each.keys and each.keys[0].partition("/")[0] in IN_A_PROJECT]
    async with matrix.http:
        await _ask_all(matrix, "seen", places, world, callers)
        assert matrix.wrong == [], "\n".join(matrix.wrong)
        for how, fields in HIDING.items():
            before = await _hide(parts, world, fields)
            for place in places:
                values = [world.ids[key] for key in place.keys]
                for caller in callers:
                    expected = {404} if let_in(place, caller) else {403}
                    await matrix.ask(f"hidden {how}", place, values, caller.header, expected)
            for caller in callers:
                await _finds_nothing(matrix, caller, world)
            assert _unrecorded(await _everything_of(parts, world)) == _unrecorded(before)
    print(f"\n{len(places)} routes, {sum(matrix.counted.values())} cases: {dict(matrix.counted)}")
    assert matrix.wrong == [], "\n".join(matrix.wrong)


async def _ask_all(matrix: Matrix, kind: str, places: list[Place], world: World, callers: list[Caller]) -> None:
    """The control: reads find everything while it is in reach."""
    for place in places:
        if place.method in {"GET", "WEBSOCKET"}:
            for caller in callers:
                values = [world.ids[key] for key in place.keys]
                await matrix.ask(kind, place, values, caller.header, own(place, caller, world))


async def _hide(parts: Parts, world: World, fields: dict[str, Any]) -> dict[str, str]:
    """Let the project be out of reach in this way alone. What there is afterwards."""
    every = {"visibility": "organization", "email_domains": [], "ip_ranges": [], **fields}
    principal = Principal("system", new_id(), world.organization_id, frozenset({"*"}))
    async with begin(parts.store, principal) as tx:
        await tx.execute(
            "update projects set visibility = %(visibility)s, email_domains = %(email_domains)s, "
            "ip_ranges = %(ip_ranges)s where id = %(id)s",
            {**every, "id": world.project},
        )
    return await _everything_of(parts, world)


async def _finds_nothing(matrix: Matrix, caller: Caller, world: World) -> None:
    """No list has anything of it, and nothing is submitted to it."""
    headers = {"Authorization": caller.header}
    for collection in ("projects", "jobs", "approvals", "environments", "releases", "sprints"):
        listed = (await matrix.http.get(f"/api/v1/{collection}", headers=headers)).json()["items"]
        assert [each for each in listed if str(world.project) in {each["id"], each.get("project_id")}] == []
    new = {"project": str(world.project), "agent": "coding", "task": "x"}
    submitted = await matrix.http.post("/api/v1/jobs", headers=headers, json=new)
    refused = "project-out-of-reach" if "job.submit" in caller.may.permissions else "permission-denied"
    assert submitted.json()["code"] == refused  # the same as for a project that isn't there


def test_a_route_without_a_permission_would_be_seen():
    """The positive control of the walk."""
    app = FastAPI()

    @app.get("/api/v1/open/{thing}")
    def open_route(thing: str) -> None: ...

    [place] = [place for place in walk(app.routes) if place.path.startswith("/api")]
    assert (place.need, place.keys) == (None, ["open/thing"])
