"""The rooms behind HTTP: a real application on a real database, with keys of several kinds and two organizations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import api as access_api
from shopfloor.domain.access.keys import mint
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.access.tokens import KeyRing
from shopfloor.domain.access.why_not import install_why_not
from shopfloor.domain.accounts import api as accounts_api
from shopfloor.domain.accounts.desk import AccountsDesk, IdentityParts
from shopfloor.domain.accounts.oidc_client import IdentityClient
from shopfloor.domain.accounts.oidc_domains import dns_texts
from shopfloor.domain.accounts.passwords import Passwords
from shopfloor.domain.accounts.settings import AccountsSettings
from shopfloor.domain.artifacts import api as artifacts_api
from shopfloor.domain.models import api as models_api
from shopfloor.domain.models.providers import ProviderDesk, provider_desk
from shopfloor.infra.blobs import FolderBlobs
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin_system
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.plumbing import install_plumbing


@dataclass(frozen=True)
class AppState:
    store: Store
    sealer: MasterKeySealer
    blobs: FolderBlobs
    providers: ProviderDesk
    ring: KeyRing
    edge: EdgeSettings
    accounts: AccountsDesk
    identity: IdentityParts


@pytest.fixture
def accounts_desk(store: Store, sealer: MasterKeySealer) -> AccountsDesk:
    """Without a mail server."""
    return AccountsDesk(store, sealer, AccountsSettings(), MailSettings(), Passwords())


@pytest.fixture
def app(store: Store, sealer: MasterKeySealer, tmp_path: Path, accounts_desk: AccountsDesk) -> FastAPI:
    app = FastAPI()
    install_plumbing(app)
    install_why_not(app)
    accounts = (accounts_api.router, accounts_api.people, accounts_api.well_known)
    accounts = (*accounts, accounts_api.factors, accounts_api.identity)
    for router in (*access_api.ROUTERS, *models_api.ROUTERS, artifacts_api.router, *accounts):
        app.include_router(router)
    desk = provider_desk(allow_private=True, clock=SystemClock())
    identity = IdentityParts(IdentityClient(SystemClock(), allow_private=True), dns_texts())
    app.state.shopfloor = AppState(
        store, sealer, FolderBlobs(tmp_path / "blobs"), desk, KeyRing(store), EdgeSettings(), accounts_desk, identity
    )
    return app


@dataclass
class Clients:
    """Makes clients that sign in with a key of their own."""

    app: FastAPI
    store: Store
    sealer: MasterKeySealer
    open: list[httpx2.AsyncClient] = field(default_factory=list)

    async def with_key(
        self,
        organization_id: UUID,
        permissions: Iterable[str] = ROLES["owner"],
        *,
        role: str = "owner",
        project_ids: list[UUID] | None = None,
    ) -> httpx2.AsyncClient:
        key, user_id = mint(), new_id()
        async with begin_system(self.store) as tx:
            await tx.execute(
                "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, 'Somebody', %s)",
                (user_id, organization_id, f"{user_id}@example.org", role),
            )
            await tx.execute(
                "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions, "
                "project_ids) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    new_id(), organization_id, user_id, role, key.public_id,
                    self.sealer.fingerprint("api key", key.text), sorted(permissions), project_ids,
                ),
            )  # fmt: skip
        return self.with_header(f"Bearer {key.text}")

    def with_header(self, authorization: str | None) -> httpx2.AsyncClient:
        headers = {} if authorization is None else {"Authorization": authorization}
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app), base_url="http://127.0.0.1:8321", headers=headers
        )
        self.open.append(client)
        return client


@pytest.fixture
async def clients(app: FastAPI, store: Store, sealer: MasterKeySealer) -> AsyncIterator[Clients]:
    clients = Clients(app, store, sealer)
    yield clients
    for client in clients.open:
        await client.aclose()


@pytest.fixture
async def client(clients: Clients, owner: Principal) -> httpx2.AsyncClient:
    """Signed in as the owner of the first organization."""
    return await clients.with_key(owner.organization_id)


@pytest.fixture
async def viewer(clients: Clients, owner: Principal) -> httpx2.AsyncClient:
    """Signed in as a viewer of the first organization."""
    return await clients.with_key(owner.organization_id, ROLES["viewer"], role="viewer")


@pytest.fixture
async def stranger(clients: Clients, store: Store) -> httpx2.AsyncClient:
    """Signed in as the owner of another organization."""
    organization_id = new_id()
    async with begin_system(store) as tx:
        await tx.execute("insert into organizations (id, name) values (%s, 'Other')", (organization_id,))
    return await clients.with_key(organization_id)
