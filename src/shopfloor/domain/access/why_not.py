"""Why not: every refusal says which permission is missing, and who can give it. Looked up when refusing only."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from shopfloor.base.errors import PermissionDenied, Unavailable
from shopfloor.base.principal import Principal
from shopfloor.domain.access import store_people as store
from shopfloor.domain.access.http import access_state
from shopfloor.domain.access.permissions import OF_THE_OPERATOR, ROLES
from shopfloor.infra.tx import Tx, begin
from shopfloor.infra.web.problems import problem_response, request_id_of

_GIVES = "member.edit"
_MOST_PEOPLE = 3
_OF_THE_OPERATOR = " But it counts in the first organization of this installation alone: ask an owner of that one."


def install_why_not(app: FastAPI) -> None:
    """Let every PermissionDenied of `app` name who can give what is missing. Call after `install_problems`."""
    app.add_exception_handler(PermissionDenied, explained_refusal)


async def explained_refusal(request: Request, error: Exception) -> Response:
    """The answer to a PermissionDenied."""
    denied = cast("PermissionDenied", error)
    principal = cast("Principal | None", getattr(request.state, "principal", None))
    if principal is not None and "permission" in denied.facts:
        denied = await _explained(request, principal, denied)
    return problem_response(denied, request_id=request_id_of(request))


async def _explained(connection: HTTPConnection, principal: Principal, denied: PermissionDenied) -> PermissionDenied:
    if denied.facts["permission"] in OF_THE_OPERATOR:
        return type(denied)(
            denied.detail + _OF_THE_OPERATOR, **denied.facts, given_by={"roles": ["owner"], "people": []}
        )
    try:
        async with begin(access_state(connection).store, principal) as tx:
            roles, people = await who_gives(tx)
    except Unavailable:
        return denied  # the refusal stands without it
    ask = f" Ask {', '.join(people)}." if people else ""
    return type(denied)(denied.detail + ask, **denied.facts, given_by={"roles": roles, "people": people})


async def who_gives(tx: Tx) -> tuple[list[str], list[str]]:
    """The roles that can give permissions in this organization, and up to three people who have one of them."""
    roles = [name for name, held in ROLES.items() if _GIVES in held]
    roles += [role.name for role in await store.roles(tx) if _GIVES in role.permissions]
    return roles, await store.holders(tx, roles, limit=_MOST_PEOPLE)
