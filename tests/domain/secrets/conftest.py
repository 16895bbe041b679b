"""The room's routes on an application whose sealer is the real one, its master key in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import FastAPI

from shopfloor.domain.access import api as access_api
from shopfloor.domain.access.tokens import KeyRing
from shopfloor.domain.secrets import api as secrets_api
from shopfloor.infra.secret_stores.choose import open_master_keys
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.installation import open_sealer
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.infra.tx import Store
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.plumbing import install_plumbing


@dataclass(frozen=True)
class State:
    store: Store
    sealer: EnvelopeSealer
    ring: KeyRing
    edge: EdgeSettings = field(default_factory=EdgeSettings)


@pytest.fixture
async def sealer(store: Store, tmp_path: Path) -> EnvelopeSealer:
    kept = await open_master_keys(SecretsSettings(), tmp_path)
    return await open_sealer(store, kept.master_keys, SecretsSettings(), older=kept.older)


@pytest.fixture
def app(store: Store, sealer: EnvelopeSealer) -> FastAPI:
    app = FastAPI()
    install_plumbing(app)
    for router in (*access_api.ROUTERS, secrets_api.router):
        app.include_router(router)
    app.state.shopfloor = State(store, sealer, KeyRing(store))
    return app
