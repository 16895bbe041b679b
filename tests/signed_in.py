"""What tests of signing in share: people with passwords, browsers with cookies, an application to sign in to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psycopg
from fastapi import FastAPI

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import api as access_api
from shopfloor.domain.access.first_start import first_start, local_owner
from shopfloor.domain.access.keys import mint
from shopfloor.domain.access.tokens import KeyRing
from shopfloor.domain.accounts import api as accounts_api
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.passwords import Passwords
from shopfloor.domain.accounts.settings import AccountsSettings
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin, begin_system
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.plumbing import install_plumbing

PASSWORD = "a fake sentence for tests only"
BASE = "http://127.0.0.1:8321"
PASSWORDS = Passwords()
HASHED = PASSWORDS._hasher.hash(PASSWORD)  # once: each costs 50 ms


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
        """A header that is set to an empty text is left out."""
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


@dataclass
class People:
    store: Store
    desk: AccountsDesk
    owner: Principal

    async def new(self, *, role: str = "developer", password: str | None = PASSWORD, email: str = "") -> Principal:
        """Somebody of the first organization."""
        user_id = new_id()
        hashed = HASHED if password == PASSWORD else await self.desk.passwords.hash(password) if password else None
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

    async def key(self, who: Principal, **columns: Any) -> str:
        """An API key of theirs, with these columns."""
        text = mint()
        fields = {
            "id": new_id(), "organization_id": who.organization_id, "user_id": who.id, "name": "ci",
            "public_id": text.public_id, "secret_hash": self.desk.sealer.fingerprint("api key", text.text),
            "permissions": ["job.read", "project.read"],
        } | columns  # fmt: skip
        names, places = ", ".join(fields), ", ".join(["%s"] * len(fields))
        async with begin(self.store, self.owner) as tx:
            await tx.connection.execute(
                f"insert into api_keys ({names}) values ({places})",
                list(fields.values()),
            )
        return text.text


@dataclass(frozen=True)
class State:
    store: Store
    sealer: MasterKeySealer
    ring: KeyRing
    edge: EdgeSettings
    accounts: AccountsDesk


@dataclass
class Ground:
    """Everything that signing in takes, on a database of its own."""

    store: Store
    app: FastAPI
    people: People
    browsers: Browsers
    desk: AccountsDesk


def make_app(store: Store, desk: AccountsDesk, edge: EdgeSettings | None = None) -> FastAPI:
    """One more process on the same database."""
    edge = edge or EdgeSettings()
    app = FastAPI()
    install_plumbing(app, edge=edge)
    for router in (access_api.router, accounts_api.router, accounts_api.people, accounts_api.well_known):
        app.include_router(router)
    app.state.shopfloor = State(store, MasterKeySealer(bytes(range(32))), KeyRing(store), edge, desk)
    return app


@asynccontextmanager
async def ground(postgres: str, template: str) -> AsyncIterator[Ground]:
    """Open; its database is gone afterwards."""
    name = f"test_{new_id().hex}"
    url = postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy file_copy")
    settings = DatabaseSettings(url=url)
    database = Database(urls_of(settings), settings)
    await database.open()
    store, sealer = Store(database), MasterKeySealer(bytes(range(32)))
    await first_start(store, sealer)
    owner = await local_owner(store)
    desk = AccountsDesk(store, sealer, AccountsSettings(), MailSettings(), PASSWORDS)
    app = make_app(store, desk)
    browsers = Browsers(app)
    try:
        yield Ground(store, app, People(store, desk, owner), browsers, desk)
    finally:
        for http in browsers.open:
            await http.aclose()
        await database.aclose()
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")
