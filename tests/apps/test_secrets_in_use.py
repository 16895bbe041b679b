"""Which credentials the platform's Git shows, and what a keeper that is down looks like to a client."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.strike_out import strike_out_passwords
from shopfloor.apps.wiring import Parts, open_parts, repository_credentials
from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.submit import Submission, submit
from shopfloor.domain.secrets.keep import NewSecret, add_secret
from shopfloor.engine.git.urls import Credentials
from shopfloor.infra.database import DatabaseUrls
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.tx import begin
from shopfloor.testing.fake_vault import fake_vault

URL = "https://git.example.com/shop.git"
SETTINGS = {"credentials": {"git.example.com": "robot:visibly-fake-of-the-installation"}}


async def _job(parts: Parts, owner: Principal) -> Job:
    desk = replace(parts.desk, check_model=_any_model)
    async with begin(parts.store, owner) as tx:
        job, _ = await submit(tx, desk, Submission("x", model="mock/small", repo_url=URL))
    return job


async def _any_model(_tx: Any, text: str) -> str:
    return text


async def test_the_projects_credentials_go_before_the_organizations_and_these_before_the_settings(
    home: Path, database_url: str
):
    own = load({"SHOPFLOOR_HOME": str(home)}, database={"url": database_url}, repositories=SETTINGS)
    async with open_parts(own) as parts:
        owner = await local_owner(parts.store)
        job = await _job(parts, owner)
        installation = Credentials("visibly-fake-of-the-installation", "robot")
        assert await repository_credentials(parts, job) == installation

        async with begin(parts.store, owner) as tx:
            whole = NewSecret("forge", "visibly-fake-of-the-organization", "git", None, "git.example.com")
            await add_secret(tx, parts.sealer, whole)
        assert await repository_credentials(parts, job) == Credentials("visibly-fake-of-the-organization")

        async with begin(parts.store, owner) as tx:
            token = NewSecret("forge", "visibly-fake-of-the-project", "git", job.project_id, "git.example.com", "shop")
            await add_secret(tx, parts.sealer, token)
        assert await repository_credentials(parts, job) == Credentials("visibly-fake-of-the-project", "shop")

        elsewhere = replace(job, repo_url="https://git.example.com.attacker.example/shop.git")
        assert await repository_credentials(parts, elsewhere) is None
        assert "visibly-fake" not in REDACTOR.text("visibly-fake-of-the-installation visibly-fake-of-the-project")


async def test_a_keeper_that_is_down_is_503_for_what_needs_a_secret_and_nothing_else(home: Path, database_url: str):
    with fake_vault() as server:
        server.transit["shopfloor"] = [bytes(range(32))]
        vault = {"address": server.address, "role_id": server.role_id, "secret_id": server.secret_id}
        own = load(
            {"SHOPFLOOR_HOME": str(home)},
            database={"url": database_url},
            secrets={"keeper": "vault-transit", "vault": vault},
        )
        async with open_parts(own) as parts:
            headers = {"Authorization": f"Bearer {parts.new_key}"}
            transport = httpx2.ASGITransport(app=create_app(parts))
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
                server.sealed = True
                refused = await client.post("/api/v1/secrets", json={"name": "a", "value": "visibly-fake-value"})
                assert (refused.status_code, refused.json()["code"]) == (503, "master-keys-away")
                assert "unsealed" in refused.json()["detail"]
                assert (await client.get("/api/v1/secrets")).json()["items"] == []
                server.sealed = False
                answers = await asyncio.gather(
                    *(client.post("/api/v1/secrets", json={"name": n, "value": "visibly-fake"}) for n in "abc")
                )
                assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert not (home / "master.key").exists()


@pytest.mark.parametrize("role", ["owner", "app", "system", "listen"])
def test_passwords_of_the_database_are_struck_out(role: str):
    urls = dict.fromkeys(("owner", "app", "system", "listen"), "postgresql:///shopfloor")
    urls[role] = f"postgresql://u:visibly%20fake%20{role}@db.example.com/shopfloor"
    strike_out_passwords(DatabaseUrls(**urls))
    assert f"visibly fake {role}" not in REDACTOR.text(f"refused: visibly fake {role}")
