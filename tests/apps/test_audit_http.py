"""The audit log as people reach it: lists, proofs, an export that another machine checks, and who may see it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.wiring import Parts
from shopfloor.base.errors import SettingsError
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.artifacts import keep
from shopfloor.domain.audit.merkle import is_included, leaf_hash
from shopfloor.domain.audit.note import VerifierKey, read
from shopfloor.infra.tx import begin

Json = dict[str, Any]


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {parts.new_key}"}
    transport = httpx2.ASGITransport(app=create_app(parts), client=("192.0.2.17", 5_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/api/v1/", headers=headers) as opened:
        yield opened


async def made(client: httpx2.AsyncClient, slug: str) -> Json:
    answer = await client.post(
        "projects", json={"slug": slug, "name": slug}, headers={"X-Request-Id": f"make-{slug}-1"}
    )
    return answer.json()


async def listed(client: httpx2.AsyncClient, **query: Any) -> list[Json]:
    answer = await client.get("audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def exported(client: httpx2.AsyncClient, folder: Path) -> tuple[Path, str]:
    key = (await client.get("audit/public-key")).json()["key"]
    file = folder / "audit.jsonl"
    file.write_bytes((await client.get("audit/export")).content)
    return file, key


def verified(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`shopfloor audit verify` as on another machine: no settings, no data folder, no server, no database."""
    command = [sys.executable, "-m", "shopfloor", "audit", "verify", *words]
    source = str(Path(__file__).parents[2] / "src")
    environ = {"PYTHONPATH": source, "HOME": str(folder), "SHOPFLOOR_HOME": "/dev/null/nowhere"}
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)


async def test_entries_are_found_by_who_what_where_and_when(client: httpx2.AsyncClient):
    one, two = await made(client, "one"), await made(client, "two")
    await client.patch(f"projects/{one['id']}", json={"status": "paused"})
    me = (await client.get("me")).json()["id"]

    async def actions(**query: Any) -> list[str]:
        return [each["action"] for each in await listed(client, **query) if not each["action"].startswith("audit.")]

    everything = ["project.changed", "project.created", "project.created"]
    assert await actions() == everything
    assert await actions(actor=me) == everything
    assert await actions(action="project.cr") == ["project.created", "project.created"]
    assert await actions(target=one["id"]) == ["project.changed", "project.created"]
    assert await actions(project=two["id"]) == ["project.created"]
    assert await actions(request_id="make-two-1") == ["project.created"]
    assert await actions(since="2100-01-01T00:00:00Z") == []
    assert await actions(until="2000-01-01T00:00:00Z") == []
    assert await actions(since="2000-01-01T00:00:00+02:00", until="2100-01-01T00:00:00Z") == everything
    assert await actions(result="refused") == []
    assert await actions(target=one["id"], action="project.ch", result="done") == ["project.changed"]
    [changed] = await listed(client, action="project.changed")
    assert (changed["before"], changed["after"]) == ({"status": "active"}, {"status": "paused"})
    assert changed["origin"]["address"] == "192.0.2.17"


async def test_pages_follow_each_other_without_loss_and_reading_is_recorded(client: httpx2.AsyncClient):
    for slug in ("a", "b", "c", "d", "e"):
        await made(client, slug)
    seen, cursor = [], None
    while True:
        query = {"limit": 2, "action": "project."} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("audit", params=query)).json()
        seen += [each["after"]["slug"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["e", "d", "c", "b", "a"]
    assert [each["after"] for each in await listed(client, action="audit.read")] == [{"action": "project."}] * 3


async def test_an_entry_comes_with_a_proof_that_leads_to_a_signed_root(client: httpx2.AsyncClient):
    for slug in ("a", "b", "c"):
        await made(client, slug)
    entry_id = (await listed(client, request_id="make-b-1"))[0]["id"]
    entry = (await client.get(f"audit/{entry_id}")).json()
    key = VerifierKey.parse((await client.get("audit/public-key")).json()["key"])
    proof = entry["inclusion"]
    checkpoint = read(proof["checkpoint"], key)
    hashes = [bytes.fromhex(each) for each in proof["hashes"]]
    assert json.loads(proof["leaf"])["id"] == entry_id
    assert is_included(leaf_hash(proof["leaf"].encode()), proof["index"], checkpoint.size, hashes, checkpoint.root)
    sizes = [each["size"] for each in (await client.get("audit/checkpoints")).json()["items"]]
    assert sizes == sorted(sizes)
    assert proof["size"] in sizes
    missing = await client.get("audit/019a0000-0000-7000-8000-000000000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "audit-entry-not-found")


async def test_only_who_may_read_the_whole_log_sees_any_of_it(client: httpx2.AsyncClient):
    project = await made(client, "a")
    for fields in ({"permissions": ["project.read"]}, {"permissions": ["audit.read"], "project_ids": [project["id"]]}):
        key = (await client.post("api-keys", json={"name": "narrow", **fields})).json()["key"]
        for path in ("audit", "audit/checkpoints", "audit/public-key", "audit/export", f"audit/{project['id']}"):
            refused = await client.get(path, headers={"Authorization": f"Bearer {key}"})
            assert (path, refused.status_code) == (path, 403)
    auditor = (await client.post("api-keys", json={"name": "auditor", "permissions": ["audit.read"]})).json()["key"]
    assert (await client.get("audit", headers={"Authorization": f"Bearer {auditor}"})).status_code == 200
    refused = await client.post("audit/restores", json={"reason": "x"}, headers={"Authorization": f"Bearer {auditor}"})
    assert refused.json()["facts"]["permission"] == "organization.edit"


async def test_another_machine_checks_an_export_and_names_what_was_changed(
    client: httpx2.AsyncClient, parts: Parts, tmp_path: Path
):
    for slug in ("a", "b", "c"):
        await made(client, slug)
    file, key = await exported(client, tmp_path)
    [outside] = parts.settings.checkpoint_folder.iterdir()
    (tmp_path / "audit.key").write_text(f"{key}\n")

    good = await asyncio.to_thread(verified, str(file), "--key", key, "--against", str(outside), folder=tmp_path)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("Good: 4 entries under ")

    file.write_bytes(file.read_bytes().replace(b'"slug":"b"', b'"slug":"x"'))
    bad = await asyncio.to_thread(verified, str(file), "--key", "audit.key", "--json", folder=tmp_path)
    told = json.loads(bad.stdout)
    assert (bad.returncode, told["good"], told["bad"]["wrong"], told["bad"]["index"]) == (1, False, "changed", 1)
    shown = await asyncio.to_thread(verified, str(file), "--key", key, folder=tmp_path)
    assert (shown.returncode, shown.stdout.startswith("BAD: changed at place 1, entry ")) == (1, True)
    wrong_key = await asyncio.to_thread(verified, str(file), "--key", "x", folder=tmp_path)
    assert (wrong_key.returncode, "shopfloor audit key" in wrong_key.stderr) == (2, True)


async def test_a_restore_is_noted_and_then_explains_what_was_kept_outside(
    client: httpx2.AsyncClient, parts: Parts, tmp_path: Path
):
    await made(client, "a")
    _, key = await exported(client, tmp_path)
    assert (await client.post("audit/restores", json={"reason": "x", "size": 99})).json()["code"] == "restore-unfounded"
    noted = await client.post("audit/restores", json={"reason": "a disk was replaced", "size": 1})
    assert noted.status_code == 201
    note = read(noted.json()["note"], VerifierKey.parse(key))
    assert note.size == noted.json()["size"] >= 3
    file, _ = await exported(client, tmp_path)
    good = await asyncio.to_thread(verified, str(file), "--key", key, folder=tmp_path)
    assert "was put back to 1 entries" in good.stdout
    assert "Compared with no checkpoints" in good.stderr


async def test_a_download_of_an_artifact_is_recorded(client: httpx2.AsyncClient, parts: Parts):
    owner = await local_owner(parts.store)
    await client.post("providers", json={"name": "a", "kind": "anthropic", "api_key": "sk-fake-0123456789"})
    job = (await client.post("jobs", json={"task": "Fix it", "model": "a/claude-sonnet-4-5"})).json()

    async def content() -> AsyncIterator[bytes]:
        yield b"output"

    artifact = await keep.save(parts.store, owner, parts.blobs, content(), job_id=job["id"], name="output.txt")
    assert (await client.get(f"artifacts/{artifact.id}/content")).content == b"output"
    [entry] = await listed(client, action="artifact.")
    assert (entry["target"]["id"], entry["after"]) == (str(artifact.id), {"job_id": job["id"]})


async def test_the_key_is_sealed_and_the_checkpoint_folder_closed_to_others(client: httpx2.AsyncClient, parts: Parts):
    await made(client, "a")
    await client.get("audit/public-key")
    folder = parts.settings.checkpoint_folder
    [file] = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    async with begin(parts.store, await local_owner(parts.store)) as tx:
        row = await tx.one("select public_key from audit_keys")
    assert row is not None
    assert len(row["public_key"]) == 32


@pytest.mark.parametrize("value", ["0", "-1", "often", "1e9"])
def test_a_bad_interval_stops_the_start(home: Path, value: str):
    with pytest.raises(SettingsError, match="SHOPFLOOR_AUDIT__INTERVAL_S"):
        load({"SHOPFLOOR_HOME": str(home), "SHOPFLOOR_AUDIT__INTERVAL_S": value})
