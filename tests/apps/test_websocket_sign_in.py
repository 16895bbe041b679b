"""WebSockets of a real server: by ticket, by cookie, by token; and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from shopfloor.apps.api import create_app
from shopfloor.apps.serving import listen_on, serving, url_of
from shopfloor.apps.wiring import Parts
from shopfloor.base.ids import new_id
from shopfloor.domain.access.first_start import local_owner
from shopfloor.infra.tx import begin, begin_system
from signed_in import PASSWORD, People


@dataclass
class Site:
    """A server, a job to watch, somebody who is signed in."""

    url: str
    parts: Parts
    people: People
    job_id: str
    http: httpx2.AsyncClient
    csrf: str = ""

    async def ticket(self, **headers: str) -> str:
        own = headers or {"Origin": self.url, "X-CSRF-Token": self.csrf}
        answer = await self.http.post("/api/v1/auth/ws-ticket", headers=own)
        assert answer.status_code == 201, answer.text
        return answer.json()["ticket"]

    def watch(self, query: str = "", origin: str | None = None, **headers: str) -> connect:
        url = f"{self.url.replace('http', 'ws', 1)}/api/v1/jobs/{self.job_id}/stream?after=0{query}"
        return connect(url, origin=origin, additional_headers=headers, open_timeout=5, proxy=None)

    async def refused(self, query: str = "", origin: str | None = None, **headers: str) -> int:
        with pytest.raises(InvalidStatus) as answer:
            await self.watch(query, origin, **headers)
        return answer.value.response.status_code

    @property
    def cookie(self) -> str:
        return f"shopfloor={self.http.cookies['shopfloor']}"


@pytest.fixture
async def site(parts: Parts) -> AsyncIterator[Site]:
    listener = listen_on("127.0.0.1", 0)
    people = People(parts.store, parts.accounts, await local_owner(parts.store))
    job = new_id()
    async with begin(parts.store, people.owner) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by) "
            "select %s, organization_id, id, 'coding', 'x', 'mock/x', '{}', %s from projects limit 1",
            (job, people.owner.id),
        )
    async with serving(create_app(parts), listener, on_stop=[parts.live.close]):
        url = url_of(listener)
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            site = Site(url, parts, people, str(job), http)
            body = {"email": await people.email(await people.new()), "password": PASSWORD}
            answer = await http.post("/api/v1/auth/sign-in", json=body)
            site.csrf = answer.json()["session"]["csrf_token"]
            yield site


async def _closed(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(10):
        with suppress(ConnectionClosedError):
            async for _ in socket:
                pass
    return socket.close_code


async def test_a_ticket_opens_one_stream_once(site: Site):
    ticket = await site.ticket()
    async with site.watch(f"&ticket={ticket}"):
        assert await site.refused(f"&ticket={ticket}") == 401
    assert await site.refused(f"&ticket={ticket}") == 401


async def test_of_many_who_come_with_the_same_ticket_one_gets_in(site: Site):
    ticket = await site.ticket()
    sockets = await asyncio.gather(
        *(site.watch(f"&ticket={ticket}").__aenter__() for _ in range(5)), return_exceptions=True
    )
    opened = [each for each in sockets if isinstance(each, ClientConnection)]
    assert len(opened) == 1
    await opened[0].close()


@pytest.mark.parametrize("query", ["", "&ticket=", "&ticket=" + "A" * 43, "&ticket='", "&ticket=a&ticket=b"])
async def test_without_a_ticket_of_ours_nothing_opens(site: Site, query: str):
    assert await site.refused(query) == 401


async def test_a_ticket_older_than_its_30_seconds_is_void(site: Site):
    ticket = await site.ticket()
    async with begin_system(site.parts.store) as tx:
        await tx.execute("update one_time_tokens set expires_at = now() where purpose = 'ticket'")
    assert await site.refused(f"&ticket={ticket}") == 401


async def test_a_ticket_is_good_for_no_plain_request(site: Site):
    ticket = await site.ticket()
    async with httpx2.AsyncClient(base_url=site.url, trust_env=False) as http:
        assert (await http.get(f"/api/v1/me?ticket={ticket}")).status_code == 422  # it has no such parameter
    async with site.watch(f"&ticket={ticket}"):
        pass  # and it was not used up by that


async def test_a_ticket_ends_with_its_session(site: Site):
    ticket = await site.ticket()
    headers = {"Origin": site.url, "X-CSRF-Token": site.csrf}
    assert (await site.http.post("/api/v1/auth/sign-out", headers=headers)).status_code == 204
    assert await site.refused(f"&ticket={ticket}") == 401


async def test_a_key_takes_a_ticket_for_itself(site: Site):
    key = await site.people.key(site.people.owner, permissions=["job.read"])
    ticket = await site.ticket(Authorization=f"Bearer {key}")
    async with site.watch(f"&ticket={ticket}") as socket:
        async with begin(site.parts.store, site.people.owner) as tx:
            await tx.execute("update api_keys set revoked_at = now() where name = 'ci'")
            tx.wake(f"access:{tx.organization_id}")
        assert await _closed(socket) == 1008


async def test_a_cookie_opens_a_stream_from_our_own_page_only(site: Site):
    async with site.watch(origin=site.url, Cookie=site.cookie):
        pass
    assert await site.refused(Cookie=site.cookie) == 403  # no browser, so no cookie
    assert await site.refused(origin="https://attacker.example", Cookie=site.cookie) == 403
    assert await site.refused(origin="null", Cookie=site.cookie) == 403


async def test_signing_out_closes_what_is_open(site: Site):
    async with site.watch(f"&ticket={await site.ticket()}") as socket:
        headers = {"Origin": site.url, "X-CSRF-Token": site.csrf}
        assert (await site.http.post("/api/v1/auth/sign-out", headers=headers)).status_code == 204
        assert await _closed(socket) == 1008
