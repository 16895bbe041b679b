"""People with passwords, browsers with cookies, and a program with tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.infra.tx import Store, begin, begin_system

PASSWORD = "a fake sentence for tests only"
BASE = "http://127.0.0.1:8321"


@dataclass
class Browser:
    """A client that keeps cookies and sends what a browser sends with a page's own requests."""

    http: httpx2.AsyncClient
    csrf: str = ""

    async def sign_in(self, email: str, password: str = PASSWORD) -> httpx2.Response:
        answer = await self.post("/api/v1/auth/sign-in", json={"email": email, "password": password})
        if answer.status_code == 200 and answer.json()["session"]:
            self.csrf = answer.json()["session"]["csrf_token"]
        return answer

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.http.get(path, **more)

    async def post(self, path: str, **more: Any) -> httpx2.Response:
        return await self.send("POST", path, **more)

    async def send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        own = {"Sec-Fetch-Site": "same-origin", "Origin": BASE, "X-CSRF-Token": self.csrf}
        headers = own | more.pop("headers", {})
        return await self.http.request(
            method, path, headers={name: value for name, value in headers.items() if value}, **more
        )


@dataclass
class Browsers:
    app: FastAPI
    open: list[httpx2.AsyncClient] = field(default_factory=list)

    def new(self, *, address: str = "127.0.0.1", app: FastAPI | None = None) -> Browser:
        transport = httpx2.ASGITransport(app=app or self.app, client=(address, 40_000))
        http = httpx2.AsyncClient(transport=transport, base_url=BASE)
        self.open.append(http)
        return Browser(http)


@pytest.fixture
async def browsers(app: FastAPI) -> AsyncIterator[Browsers]:
    browsers = Browsers(app)
    yield browsers
    for http in browsers.open:
        await http.aclose()


@dataclass
class People:
    store: Store
    desk: AccountsDesk
    owner: Principal

    async def new(self, *, role: str = "developer", password: str | None = PASSWORD, email: str = "") -> Principal:
        """Somebody of the first organization."""
        user_id = new_id()
        hashed = await self.desk.passwords.hash(password) if password else None
        async with begin_system(self.store) as tx:
            await tx.execute(
                "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, 'Somebody', %s)",
                (user_id, self.owner.organization_id, email or f"{user_id}@example.org", role),
            )
            await tx.execute("update users set password_hash = %s where id = %s", (hashed, user_id))
        return Principal("user", user_id, self.owner.organization_id, user_id=user_id)

    async def email(self, who: Principal) -> str:
        async with begin_system(self.store) as tx:
            row = await tx.one("select email from users where id = %s", (who.id,))
        assert row is not None
        return row["email"]

    async def disable(self, who: Principal) -> None:
        """As the members' route does it."""
        async with begin(self.store, self.owner) as tx:
            await tx.execute("update users set disabled_at = now() where id = %s", (who.id,))
            tx.wake(f"access:{tx.organization_id}")


@pytest.fixture
def people(store: Store, accounts_desk: AccountsDesk, owner: Principal) -> People:
    return People(store, accounts_desk, owner)
