"""The way past FastAPI's router for one route that clients ask all the time.

FastAPI documents it, and answers what is unusual. Matching all routes, solving dependencies and checking our own
answer took longer than the query.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from uuid import UUID

from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shopfloor.base.ids import parse_id

_ID_CHARS = 36


class Shortcut:
    """Takes a plain `GET prefix/{id}` straight to its answer; everything else goes on to `usual`, the router.

    Plain: no query, and the id as we write it. Inside all rings, so that limits and problems are as everywhere.
    """

    def __init__(
        self, app: FastAPI, usual: ASGIApp, route: str, answer: Callable[[Request, UUID], Awaitable[Response]]
    ) -> None:
        """`route` as metrics name it: `/api/v1/jobs/{job_id}`."""
        self._app = app
        self._usual = usual
        self._answer = answer
        self._prefix, _, name = route.partition("{")
        self._name = name.rstrip("}")
        self._route = SimpleNamespace(path=route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        row_id = self._row_id(scope)
        if row_id is None:
            await self._usual(scope, receive, send)
            return
        scope["route"] = self._route
        scope["path_params"] = {self._name: str(row_id)}
        response = await self._answer(Request(scope, receive, send), row_id)
        await response(scope, receive, send)

    def _row_id(self, scope: Scope) -> UUID | None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or scope.get("root_path"):
            return None
        path = scope["path"]
        if len(path) != len(self._prefix) + _ID_CHARS or not path.startswith(self._prefix):
            return None
        if self._app.dependency_overrides:  # the command line signs in by one
            return None
        return parse_id(path[len(self._prefix) :])


def install_shortcut(app: FastAPI, route: str, answer: Callable[[Request, UUID], Awaitable[Response]]) -> None:
    """Call once for a route that `app` has."""
    app.router.middleware_stack = Shortcut(app, app.router.middleware_stack, route, answer)
