"""Rules of the house that no linter knows."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIWebSocketRoute

import shopfloor.domain
from shopfloor.domain.access.http import SIGNED_IN, Require
from shopfloor.domain.access.permissions import EVERY, ROLES
from shopfloor.infra.web.error_reference import all_errors

ROOT = Path(__file__).parents[2]
MOST_LINES = 500
OPEN = {  # how one gets in; each asks for a secret of its own, or holds none
    "/.well-known/jwks.json",
    "/api/v1/auth/setup",
    "/api/v1/auth/sign-in",
    "/api/v1/auth/second-factor",
    "/api/v1/auth/token/refresh",
    "/api/v1/auth/password/forgot",
    "/api/v1/auth/password/reset",
    "/api/v1/auth/email/verify",
    "/api/v1/auth/invitations/accept",
    "/api/v1/auth/oidc/{provider_id}/start",
    "/api/v1/auth/oidc/callback",
    "/api/v1/auth/passkeys/options",
    "/api/v1/auth/passkeys/sign-in",
}


def rooms(part: str) -> list[types.ModuleType]:
    """The module `part` of every room that has one."""
    names = [room.name for room in pkgutil.iter_modules(shopfloor.domain.__path__)]
    found = [f"shopfloor.domain.{name}.{part}" for name in names]
    return [importlib.import_module(name) for name in found if importlib.util.find_spec(name)]


def routes() -> list[APIRoute | APIWebSocketRoute]:
    routers = {
        id(value): value for module in rooms("api") for value in vars(module).values() if isinstance(value, APIRouter)
    }
    return [
        route
        for router in routers.values()
        for route in router.routes
        if isinstance(route, APIRoute | APIWebSocketRoute)
    ]


def required(dependant: Dependant) -> Iterator[Require]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Require):
            yield dependency.call
        yield from required(dependency)


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_no_file_is_longer_than_anybody_reads(folder: str):
    sizes = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert sizes
    assert {str(path): lines for path, lines in sizes.items() if lines > MOST_LINES} == {}


def test_every_route_names_exactly_one_permission_that_exists():
    found = {f"{route.path} {getattr(route, 'methods', 'ws')}": list(required(route.dependant)) for route in routes()}
    assert len(found) > 25
    odd = {
        name: needs
        for name, needs in found.items()
        if (len(needs) != 1 or needs[0].permission not in EVERY | {SIGNED_IN}) and name.partition(" ")[0] not in OPEN
    }
    assert odd == {}
    assert {name for name, needs in found.items() if name.partition(" ")[0] in OPEN and needs} == set()


def test_the_walk_finds_a_route_that_names_none():
    """The positive control of the test above."""
    app = FastAPI()

    @app.get("/open")
    def open_route() -> None: ...

    [route] = [route for route in app.routes if isinstance(route, APIRoute) and route.path == "/open"]
    assert list(required(route.dependant)) == []


def test_a_route_that_changes_something_needs_more_than_a_viewer_has():
    may = ROLES["viewer"] | ROLES["auditor"]
    found = [
        f"{sorted(route.methods)} {route.path}"
        for route in routes()
        if isinstance(route, APIRoute) and route.methods & {"POST", "PUT", "PATCH", "DELETE"}
        for need in required(route.dependant)
        if need.permission in may
    ]
    assert found == []


def test_no_two_routes_answer_the_same_request():
    names = [
        (method, route.path) for route in routes() if isinstance(route, APIRoute) for method in sorted(route.methods)
    ]
    assert len(names) == len(set(names))


def test_every_room_has_a_sign_on_its_door():
    for room in pkgutil.iter_modules(shopfloor.domain.__path__):
        sign = importlib.import_module(f"shopfloor.domain.{room.name}").__doc__ or ""
        assert "Owns" in sign, room.name


def test_no_two_errors_have_the_same_code():
    """A program that decides by `code` can tell them apart."""
    codes = Counter(error.code() for error in all_errors())
    assert len(codes) > 50
    assert [code for code, times in codes.items() if times > 1] == []
