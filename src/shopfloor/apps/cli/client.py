"""The HTTP API for commands: one call at a time, errors as sentences, streams that resume."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, BinaryIO, TypeVar, cast

import httpx2

from shopfloor.apps.cli.failures import DEFECT, ServerSaid
from shopfloor.apps.cli.kept_login import KeptLogin
from shopfloor.apps.cli.place import DEFAULT_URL, Place, find_place, login_file
from shopfloor.base.errors import Unavailable

T = TypeVar("T")
Json = dict[str, Any]

_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)  # a ping comes every 15 s
_PATIENCE_S = 60.0  # for a server that is away while a job is watched
_PAUSE_S = 1.0
_PAGE = 200
_FIRST_ERROR = 400
_CRASHED = 500
_TRY_LATER = {502, 503, 504}
_NO_CONTENT = 204


class ServerAway(Unavailable):
    """Nothing answers at the URL."""


class Client:
    """See `connected`."""

    def __init__(self, runner: asyncio.Runner, http: httpx2.AsyncClient, *, local: bool) -> None:
        self._runner = runner
        self._http = http
        self.local = local  # no server: this machine's own database, and nothing works on jobs while we ask

    def get(self, path: str, **query: Any) -> Any:
        """The JSON behind a path of /api/v1. Raises: ServerSaid, ServerAway."""
        return self.send("GET", path, query=query)

    def read(self, path: str) -> tuple[Json, str]:
        """The JSON behind a path and its ETag, for the If-Match of a change."""
        response = self._runner.run(self._sent("GET", path))
        return response.json(), response.headers.get("etag", "*")

    def post(self, path: str, body: Json | None = None, **headers: str) -> Any:
        """As `get`."""
        return self.send("POST", path, body=body, headers=headers)

    def send(
        self, method: str, path: str, *, body: Json | None = None, query: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:  # fmt: skip
        """One request. Raises: ServerSaid, ServerAway."""
        response = self._runner.run(self._sent(method, path, body=body, query=query, headers=headers))
        return response.json() if response.content else None

    def bytes_of(self, path: str) -> bytes:
        """What is behind a path, as it is."""
        return self._runner.run(self._sent("GET", path)).content

    def copy(self, path: str, file: BinaryIO) -> int:
        """Write what is behind a path into `file` as it comes; how many bytes."""
        return self._runner.run(self._copied(path, file))

    def items(self, path: str, *, most: int, **query: Any) -> list[Json]:
        """Up to `most` items of a list, over as many pages as that takes."""
        found: list[Json] = []
        cursor: str | None = None
        while len(found) < most:
            page = self.get(path, **query, limit=min(_PAGE, most - len(found)), cursor=cursor)
            found += page["items"]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return found

    def events(self, job_id: str, after: int = 0) -> Iterator[Json]:
        """The job's events as they come, to the last; a stream that breaks is taken up where it was.

        Raises: ServerSaid; ServerAway after a minute without a server.
        """
        stream = self._events(job_id, after)
        try:
            while (event := self._runner.run(_next(stream))) is not None:
                yield event
        finally:
            self._runner.run(stream.aclose())

    async def _events(self, job_id: str, after: int) -> AsyncGenerator[Json]:
        if self.local:
            async for event in self._events_so_far(job_id, after):
                yield event
            return
        lost_at: float | None = None
        while True:
            try:
                async for event in self._stream(job_id, after):
                    lost_at = None
                    after = event["seq"]
                    yield event
                    if _is_last(event):
                        return
                if (await self._sent("GET", f"jobs/{job_id}")).json()["last_seq"] <= after and await self._over(job_id):
                    return
            except (httpx2.TransportError, ServerAway) as error:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _PATIENCE_S:
                    raise _away(self._http.base_url) from error
            await asyncio.sleep(_PAUSE_S)

    async def _copied(self, path: str, file: BinaryIO) -> int:
        try:
            async with self._http.stream("GET", f"/api/v1/{path}", timeout=_STREAM_TIMEOUT) as response:
                if response.status_code >= _FIRST_ERROR:
                    await response.aread()
                    raise refusal_of(response)
                size = 0
                async for piece in response.aiter_bytes():
                    size += file.write(piece)
                return size
        except httpx2.TransportError as error:
            raise _away(self._http.base_url) from error

    async def _over(self, job_id: str) -> bool:
        job = (await self._sent("GET", f"jobs/{job_id}")).json()
        return job["finished_at"] is not None

    async def _events_so_far(self, job_id: str, after: int) -> AsyncIterator[Json]:
        while page := (await self._sent("GET", f"jobs/{job_id}/events", query={"after": after, "limit": _PAGE})).json():
            for event in page["items"]:
                after = event["seq"]
                yield event
            if not page["items"]:
                return

    async def _stream(self, job_id: str, after: int) -> AsyncIterator[Json]:
        """Server-sent events. Source: WHATWG HTML, 'Server-sent events'; our frames hold one `data` line each."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = f"/api/v1/jobs/{job_id}/events"
        async with self._http.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as response:
            if response.status_code >= _FIRST_ERROR:
                await response.aread()
                raise refusal_of(response)
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    yield cast("Json", json.loads(line[5:]))

    async def _sent(
        self, method: str, path: str, *, body: Json | None = None, query: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:  # fmt: skip
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            response = await self._http.request(
                method, f"/api/v1/{path}", json=body, params=given or None, headers=headers
            )
        except httpx2.TransportError as error:
            raise _away(self._http.base_url) from error
        if response.status_code == _CRASHED and self.local:
            raise ServerSaid(_CRASHED, "internal-error", f"Something that nobody foresaw went wrong. {DEFECT}")
        if response.status_code >= _FIRST_ERROR:
            raise refusal_of(response)
        return response


@contextmanager
def connected(place: Place | None = None, *, wanted: Iterable[str] = ()) -> Generator[Client]:
    """A client of the server that `find_place` finds, or of the same API in this process where none is up.

    `wanted` are providers that the command is about: in this process the environment's are set up for it.
    """
    place = place or find_place(os.environ)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        opening = _server(place) if place else _here(wanted)
        try:
            http = runner.run(stack.enter_async_context(opening))
            yield Client(runner, http, local=place is None)
        finally:
            runner.run(stack.aclose())


@asynccontextmanager
async def _server(place: Place) -> AsyncGenerator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {place.key}"} if place.key else {}
    auth = None if place.key else KeptLogin(login_file(), place.url)
    # trust_env off: a proxy variable must not see the key of a server on this machine.
    async with httpx2.AsyncClient(
        base_url=place.url, headers=headers, auth=auth, timeout=_TIMEOUT, trust_env=False
    ) as http:
        yield http


@asynccontextmanager
async def _here(wanted: Iterable[str]) -> AsyncGenerator[httpx2.AsyncClient]:
    """The whole API on this machine's database, as its owner: what `run` left there can be seen without a server."""
    from shopfloor.apps.api import create_app  # the whole engine: only where there is no server to ask
    from shopfloor.apps.cli.settings import settings_for
    from shopfloor.apps.wiring import open_parts
    from shopfloor.domain.access.first_start import local_owner
    from shopfloor.domain.access.http import authenticated
    from shopfloor.domain.models.providers import ensure_env_providers
    from shopfloor.engine.providers.catalogue import environment_variables
    from shopfloor.infra.tx import begin

    async with open_parts(settings_for(quiet=True, providers={"allow_private": True})) as parts:
        app = create_app(parts)
        owner = await local_owner(parts.store)
        async with begin(parts.store, owner) as tx:  # as `run` does: prices can be set before the first run
            nameable = set(wanted) & set(environment_variables())
            await ensure_env_providers(tx, parts.sealer, os.environ, wanted=nameable)
        app.dependency_overrides[authenticated] = lambda: owner
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=DEFAULT_URL, timeout=_TIMEOUT) as http:
            yield http


async def _next(stream: AsyncGenerator[Json]) -> Json | None:
    return await anext(stream, None)


def _is_last(event: Json) -> bool:
    return event["kind"] in {"job.succeeded", "job.failed", "job.cancelled", "job.dead"}


def refusal_of(response: httpx2.Response) -> Exception:
    """What the server answered, as one sentence."""
    try:
        problem = cast("Json", response.json())
        detail, code = str(problem["detail"]), str(problem["code"])
        fields = cast("list[Json]", problem.get("errors") or [])
    except (ValueError, KeyError, TypeError):
        detail, code, fields = (
            f"The server answered {response.status_code}, and nothing that explains it",
            "unknown",
            [],
        )
    if fields:
        detail = "; ".join(f"{each['pointer'].lstrip('/') or each['in']}: {each['detail']}" for each in fields)
    elif code == "not-signed-in" and "shopfloor login" not in detail:
        detail += " At this terminal `shopfloor login` signs you in."
    return ServerSaid(response.status_code, code, detail)


def _away(url: object) -> ServerAway:
    return ServerAway(
        f"No server answers at {url}. Start one with `shopfloor up`, or name another in SHOPFLOOR_URL; without both, "
        "commands ask this machine's own database."
    )


def with_client(work: Callable[[Client], T]) -> T:
    """`work` with a client of its own."""
    with connected() as client:
        return work(client)
