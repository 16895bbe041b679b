"""Canary secrets go through the main flows, then everything that could have kept one is searched."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx2
import psycopg
import pytest

from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.wiring import Parts, open_parts, repository_credentials
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.events import Once
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets.data_keys import active_key, installation_keys
from shopfloor.infra.secrets.rotation import rotate_data, rotate_master
from shopfloor.infra.telemetry import LogSettings, configure_logging
from shopfloor.infra.tx import begin, begin_system
from shopfloor.testing.mock_provider import serve

PROVIDER = "visibly-fake-canary-of-a-provider-7Qx2"
ROTATED = "visibly-fake-canary-of-a-provider-9Zp4"
GIT = "visibly-fake-canary-of-git-K3m9"
PASSWORD = "Visibly fake canary: pass/word 4t"
PLANTED = "visibly-fake-canary-that-was-planted-B8w1"


@dataclass
class Shop:
    """An installation, whose logs and answers are kept."""

    parts: Parts
    client: httpx2.AsyncClient
    logs: io.StringIO
    database_url: str
    answers: list[httpx2.Response] = field(default_factory=list)

    async def ask(self, method: str, path: str, **more: object) -> httpx2.Response:
        answer = await self.client.request(method, f"/api/v1/{path}", **more)  # type: ignore[arg-type]
        self.answers.append(answer)
        return answer

    def everything(self) -> dict[str, bytes]:
        """By the place's name: logs, answers, every table, every file that isn't a key's own home."""
        home = self.parts.settings.home
        found = {"logs": self.logs.getvalue().encode()}
        found |= {
            f"answer {number}": answer.content + str(answer.headers).encode()
            for number, answer in enumerate(self.answers)
            if answer.request.url.path != "/api/v1/api-keys"  # where a new key is shown, once
        }
        homes = {home / "master.key", self.parts.settings.admin_key_file}
        found |= {str(file): file.read_bytes() for file in home.rglob("*") if file.is_file() and file not in homes}
        return found | _tables(self.database_url)


def _tables(url: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with psycopg.connect(url) as connection:
        rows = connection.execute("select table_name from information_schema.tables where table_schema = 'public' "
                                  "and table_type = 'BASE TABLE'").fetchall()  # fmt: skip
        for (name,) in rows:
            with connection.cursor().copy(f'copy "{name}" to stdout') as copy:  # type: ignore[arg-type]
                found[f"table {name}"] = b"".join(bytes(piece) for piece in copy)
    return found


def _forms(secret: str | bytes) -> set[bytes]:
    raw = secret.encode() if isinstance(secret, str) else secret
    whole = len(raw) - len(raw) % 3  # base64 of a longer text holds this much of it, if it begins with it
    forms = {
        raw,
        raw.hex().encode(),
        base64.b64encode(raw),
        base64.b64encode(raw[:whole]),
        quote(raw, safe="").encode(),
    }
    return forms | {each.upper() for each in (raw.hex().encode(),)}


def search(shop: Shop, canaries: dict[str, str | bytes]) -> list[str]:
    """`canary in place`, for every canary in any of its forms."""
    places = shop.everything()
    return [
        f"{name} in {place}"
        for name, canary in canaries.items()
        for place, content in places.items()
        if any(form in content for form in _forms(canary))
    ]


@pytest.fixture
async def shop(home: Path, database_url: str) -> AsyncIterator[Shop]:
    logs = io.StringIO()
    configure_logging(LogSettings(level="debug", format="json"), stream=logs)
    own = load(
        {"SHOPFLOOR_HOME": str(home)},
        database={"url": database_url},
        providers={"allow_private": True},
        jobs={"default_model": "mock/small"},
    )
    async with open_parts(own) as parts:
        transport = httpx2.ASGITransport(app=create_app(parts), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {parts.new_key}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            yield Shop(parts, client, logs, database_url)


async def _main_flows(shop: Shop) -> dict[str, str | bytes]:
    """Everything that takes a secret, what goes wrong with it included. The canaries that went through."""
    async with serve() as mock:
        made = (await shop.ask("POST", "providers", json={
            "name": "mock", "kind": "mock", "base_url": mock.url, "api_key": PROVIDER, "models": [{"name": "small"}],
        })).json()  # fmt: skip
        await shop.ask("POST", f"providers/{made['id']}/test", json={})
        await shop.ask("POST", f"providers/{made['id']}/test", json={"model": "nonsense"})
    await shop.ask("POST", f"providers/{made['id']}/test", json={"model": "small"})  # nobody answers there any more
    await shop.ask("PATCH", f"providers/{made['id']}", json={"api_key": ROTATED})
    await shop.ask("PATCH", f"providers/{made['id']}", json={"api_key": [PROVIDER]})
    await shop.ask("POST", "secrets", json={"name": "f", "kind": "git", "host": "git.example.com", "value": GIT})
    await shop.ask("POST", "secrets", json={"name": "p", "value": PASSWORD})
    await shop.ask("POST", "secrets", json={"name": PASSWORD, "value": PASSWORD})
    await shop.ask("POST", "secrets", json={"name": "q", "value": PASSWORD, "kind": PASSWORD})
    await shop.ask("GET", "jobs", params={"cursor": PROVIDER})
    await shop.ask("GET", "jobs", headers={"Authorization": f"Basic {PASSWORD}"})
    key = (await shop.ask("POST", "api-keys", json={"name": "ci", "permissions": ["job.read"]})).json()["key"]
    await shop.ask("GET", "jobs", headers={"Authorization": f"Bearer {key}"})
    await shop.ask("POST", "jobs", content=b'{"task": "' + key.encode())
    await shop.ask("POST", "jobs", json={
        "project": "default", "task": "x", "model": "mock/small", "repo": {"url": f"https://u:{GIT}@git.example.com/r"},
    })  # fmt: skip
    priced = {"provider": "mock", "model": "small", "usd_per_million": "1"}
    for unit in ("input", "output"):
        await shop.ask("POST", "prices", json=priced | {"unit": unit})
    job = await shop.ask("POST", "jobs", json={
        "project": "default", "task": "x", "model": "mock/small", "repo": {"url": "https://git.example.com/r"},
    })  # fmt: skip
    await _a_run_that_fails_with_secrets_in_its_errors(shop, job.json()["id"])
    sealer, store = shop.parts.sealer, shop.parts.store
    owner = await local_owner(store)
    async with begin(store, owner) as tx:
        row = await active_key(tx, owner.organization_id)
    async with begin_system(store) as tx:
        own = await installation_keys(tx)
    assert row is not None
    data_key, *prints = await sealer.master_keys.unwrap([each.as_wrapped() for each in (row, *own)])
    await rotate_master(store, sealer)
    await rotate_data(store, sealer, owner.organization_id)
    masters = (shop.parts.settings.home / "master.key").read_text().split()
    return {
        "provider key": PROVIDER, "new provider key": ROTATED, "git token": GIT, "password": PASSWORD,
        "api key": key, "first key": shop.parts.new_key or "", "data key": data_key,
        **{f"installation key {number}": each for number, each in enumerate(prints)},
        **{f"master key {number}": base64.b64decode(each) for number, each in enumerate(masters)},
    }  # fmt: skip


async def _a_run_that_fails_with_secrets_in_its_errors(shop: Shop, job_id: str) -> None:
    """What a worker logs, and what it puts into the job's stream, goes through the redactor."""
    owner = await local_owner(shop.parts.store)
    async with begin(shop.parts.store, owner) as tx:
        job = await jobs.job(tx, job_id)  # type: ignore[arg-type]
    found = await repository_credentials(shop.parts, job)
    assert found is not None
    assert found.password == GIT
    import structlog

    log = structlog.get_logger("worker")

    def fail() -> None:
        raise RuntimeError(f"git said: fatal: https://x:{found.password}@git.example.com/r not found; key {ROTATED}")

    try:
        fail()
    except RuntimeError:
        log.exception("run.failed", detail=f"Authorization: Bearer {ROTATED}", master=PASSWORD)
    detail = REDACTOR.text(f"fatal: https://x:{found.password}@git.example.com/r")
    async with begin(shop.parts.store, owner) as tx:
        await Once(("run.failed", {"detail": detail})).emit(tx, job.id)


async def test_no_canary_is_found_anywhere_after_the_main_flows(shop: Shop):
    canaries = await _main_flows(shop)
    statuses = [answer.status_code for answer in shop.answers]
    assert {200, 201, 202, 401, 422} <= set(statuses)  # what should pass passed, what should fail failed
    assert all(status < 500 for status in statuses)
    places = shop.everything()
    assert {"table secrets", "table providers", "table data_keys", "table jobs", "table events"} <= set(places)
    assert len(places["logs"].splitlines()) > 20
    assert search(shop, canaries) == []


async def test_a_planted_canary_is_found_in_every_place_in_every_form(shop: Shop):
    """The positive control of the test above."""
    home, owner = shop.parts.settings.home, await local_owner(shop.parts.store)
    shop.logs.write(PLANTED)
    (home / "blobs").mkdir(exist_ok=True)
    (home / "blobs" / "artifact").write_bytes(b"x" + base64.b64encode(PLANTED.encode()))
    async with begin(shop.parts.store, owner) as tx:
        await tx.execute("update organizations set name = %s", (PLANTED,))
        await tx.execute(
            "insert into secrets (id, organization_id, name, kind, sealed_value, created_by) "
            "values (gen_random_uuid(), %s, 'a', 'generic', %s, gen_random_uuid())",
            (owner.organization_id, PLANTED.encode()),
        )
    await shop.ask("GET", "organizations/current")
    assert search(shop, {"it": PLANTED}) == [
        "it in logs", "it in answer 0", f"it in {home / 'blobs' / 'artifact'}",
        "it in table organizations", "it in table secrets",
    ]  # fmt: skip
