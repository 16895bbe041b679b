"""What tests of single sign-on share: an application, a fake provider that it knows, and the way there and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import httpx2
from fastapi import FastAPI

from domain.accounts.fake_identity_provider import FakeIdentityProvider
from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.domain.accounts import api as accounts_api
from shopfloor.domain.accounts import oidc_domains, oidc_providers
from shopfloor.domain.accounts.desk import AccountsDesk, IdentityParts
from shopfloor.domain.accounts.oidc_client import IdentityClient
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.edge import EdgeSettings
from signed_in import Browser, Browsers, Ground, make_app

CALLBACK = "/api/v1/auth/oidc/callback"
REDIRECT_URI = f"http://127.0.0.1:8321{CALLBACK}"
DOMAIN = "example.org"


@dataclass(frozen=True)
class SsoState:
    store: Store
    sealer: MasterKeySealer
    ring: Any
    edge: EdgeSettings
    accounts: AccountsDesk
    identity: IdentityParts


async def no_texts(name: str) -> list[str]:
    """A fake name service in which no name has a text."""
    return []


@dataclass
class Sso:
    """One application; each provider is added to the first organization under a name of its own."""

    ground: Ground
    app: FastAPI

    def browser(self) -> Browser:
        browsers = Browsers(self.app)
        self.ground.browsers.open.extend(browsers.open)
        return browsers.new()

    async def add(self, provider: FakeIdentityProvider, **change: Any) -> UUID:
        provider.redirect_uris.add(REDIRECT_URI)
        fields = {
            "name": f"p-{new_id().hex}", "issuer": provider.issuer, "client_id": provider.client_id,
            "client_secret": provider.client_secret, "scopes": ["openid", "email", "profile"],
            "default_role": "viewer", "makes_accounts": True, "counts_as_second_factor": False, "enabled": True,
        } | change  # fmt: skip
        async with begin(self.ground.store, self.ground.people.owner) as tx:
            return (await oidc_providers.add_provider(tx, MasterKeySealer(bytes(range(32))), fields)).id

    async def prove(self, domain: str = DOMAIN) -> None:
        async with begin(self.ground.store, self.ground.people.owner) as tx:
            await oidc_domains.prove_by_operator(tx, domain)


def sso_app(ground: Ground, client: IdentityClient | None = None) -> Sso:
    """With a client that may reach loopback, unless one is given."""
    app = make_app(ground.store, ground.desk)
    known = {getattr(route, "path", "") for route in app.routes}
    for router in (accounts_api.factors, accounts_api.identity):
        if not {getattr(route, "path", "") for route in router.routes} <= known:
            app.include_router(router)
    state = app.state.shopfloor
    identity = IdentityParts(client or IdentityClient(SystemClock(), allow_private=True), no_texts)
    app.state.shopfloor = SsoState(state.store, state.sealer, state.ring, state.edge, state.accounts, identity)
    return Sso(ground, app)


@contextmanager
def fake_provider(**change: Any) -> Iterator[FakeIdentityProvider]:
    provider = FakeIdentityProvider(**change)
    provider.person["sub"] = new_id().hex  # nobody whom another test knows
    provider.person["email"] = f"{new_id().hex}@{DOMAIN}"
    try:
        yield provider
    finally:
        provider.close()


@dataclass
class Journey:
    """There and back with one browser; each leg can be changed on the way."""

    browser: Browser
    provider_id: UUID
    queries: list[dict[str, str]] = field(default_factory=list)  # what the provider answered

    async def start(self, **query: str) -> httpx2.Response:
        return await self.browser.get(f"/api/v1/auth/oidc/{self.provider_id}/start", params=query)

    async def agree(self, url: str) -> dict[str, str]:
        """The person is at the provider, and says yes: what the browser brings back."""
        async with httpx2.AsyncClient() as http:
            answer = await http.get(url)
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["location"])
        assert back._replace(query="").geturl() == REDIRECT_URI
        self.queries.append(dict(parse_qsl(back.query)))
        return dict(self.queries[-1])

    async def back(self, query: dict[str, str] | list[tuple[str, str]]) -> httpx2.Response:
        return await self.browser.get(f"{CALLBACK}?{urlencode(query)}")

    async def whole(self, **query: str) -> httpx2.Response:
        started = await self.start(**query)
        assert started.status_code == 303, started.text
        return await self.back(await self.agree(started.headers["location"]))

    async def me(self) -> dict[str, Any] | None:
        answer = await self.browser.get("/api/v1/me")
        return answer.json() if answer.status_code == 200 else None


async def journey(sso: Sso, provider: FakeIdentityProvider, **change: Any) -> Journey:
    return Journey(sso.browser(), await sso.add(provider, **change))


async def refused(way: Journey, answer: Any, *, code: str = "identity-refused", status: int = 401) -> None:
    """Told as every other, and nobody is signed in."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "set-cookie" not in answer.headers
    assert await way.me() is None
