"""What jobs leave behind: kept, listed, downloaded, and nobody else's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.artifacts import keep
from shopfloor.domain.artifacts.download import byte_range, content_disposition
from shopfloor.domain.artifacts.errors import RangeNotSatisfiable
from shopfloor.domain.artifacts.models import Artifact
from shopfloor.infra.blobs import BlobTooLarge, ByteRange
from shopfloor.infra.tx import Store, begin

CONTENT = bytes(range(256)) * 8_192  # 2 MiB: more than one piece


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 300_000):
        yield content[start : start + 300_000]


@pytest.fixture
async def job_id(store: Store, owner: Principal) -> UUID:
    job_id = new_id()
    async with begin(store, owner) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by) "
            "select %s, organization_id, id, 'coding', 'x', 'mock/x', '{}', %s from projects where slug = 'default'",
            (job_id, owner.id),
        )
    return job_id


@pytest.fixture
async def artifact(app: FastAPI, store: Store, owner: Principal, job_id: UUID) -> Artifact:
    blobs = app.state.shopfloor.blobs
    return await keep.save(
        store, owner, blobs, _chunks(CONTENT), job_id=job_id, name="out/report.bin", media_type="image/png"
    )


async def test_an_artifact_is_listed_shown_and_downloaded_whole(client: httpx2.AsyncClient, artifact: Artifact):
    [listed] = (await client.get(f"/api/v1/jobs/{artifact.job_id}/artifacts")).json()["items"]
    assert listed == (await client.get(f"/api/v1/artifacts/{artifact.id}")).json()
    assert (listed["name"], listed["size_bytes"]) == ("out/report.bin", len(CONTENT))
    assert listed["digest"] == hashlib.sha256(CONTENT).hexdigest()

    answer = await client.get(f"/api/v1/artifacts/{artifact.id}/content")
    assert answer.content == CONTENT
    headers = answer.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-disposition"].startswith('attachment; filename="report.bin"')
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()}:"


async def test_a_copy_that_is_the_content_is_not_sent_again(client: httpx2.AsyncClient, artifact: Artifact):
    place = f"/api/v1/artifacts/{artifact.id}/content"
    etag = (await client.get(place)).headers["etag"]
    again = await client.get(place, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


async def test_parts_put_together_are_the_whole(client: httpx2.AsyncClient, artifact: Artifact):
    place, size = f"/api/v1/artifacts/{artifact.id}/content", len(CONTENT)
    first = await client.get(place, headers={"Range": "bytes=0-999999"})
    rest = await client.get(place, headers={"Range": "bytes=1000000-"})
    assert (first.status_code, first.headers["content-range"]) == (206, f"bytes 0-999999/{size}")
    assert first.content + rest.content == CONTENT
    assert (await client.get(place, headers={"Range": "bytes=-5"})).content == CONTENT[-5:]
    beyond = await client.get(place, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range-not-satisfiable")
    stale = await client.get(place, headers={"Range": "bytes=0-1", "If-Range": '"old"'})
    assert (stale.status_code, len(stale.content)) == (200, size)


@pytest.mark.parametrize("header", ["bytes=0-1,4-5", "items=0-1", "bytes=-", "bytes=9-2", "bytes=a-b", "", None])
def test_what_is_no_single_range_means_the_whole(header: str | None):
    assert byte_range(header, 100) is None


def test_a_range_is_cut_to_the_content():
    assert byte_range("bytes=90-500", 100) == ByteRange(90, 10)
    assert byte_range("bytes=-500", 100) == ByteRange(0, 100)
    for header in ("bytes=0-", "bytes=-5"):
        with pytest.raises(RangeNotSatisfiable):
            byte_range(header, 0)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("../../etc/passwd", "attachment; filename=\"passwd\"; filename*=UTF-8''passwd"),
        ("c:\\x\\y.exe", "attachment; filename=\"y.exe\"; filename*=UTF-8''y.exe"),
        ("Prüfung.pdf", "attachment; filename=\"Pr_fung.pdf\"; filename*=UTF-8''Pr%C3%BCfung.pdf"),
        ("报告", "attachment; filename=\"__\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A"),
        ("cod\u202etxt.exe", "attachment; filename=\"codtxt.exe\"; filename*=UTF-8''codtxt.exe"),
        ("..", "attachment; filename=\"artifact\"; filename*=UTF-8''artifact"),
        ("x\r\nSet-Cookie: a", "attachment; filename=\"xSet-Cookie_ a\"; filename*=UTF-8''xSet-Cookie%3A%20a"),
    ],
)
def test_a_name_of_any_kind_makes_a_header_of_one_kind(name: str, shown: str):
    assert content_disposition(name) == shown
    assert shown.isascii()
    assert shown.isprintable()


async def test_artifacts_come_in_pages_and_a_cursor_is_good_for_its_job_only(
    client: httpx2.AsyncClient, app: FastAPI, store: Store, owner: Principal, job_id: UUID
):
    kept = [
        await keep.save(store, owner, app.state.shopfloor.blobs, _chunks(b"x"), job_id=job_id, name=f"{number}")
        for number in range(3)
    ]
    place = f"/api/v1/jobs/{job_id}/artifacts"
    one = (await client.get(place, params={"limit": 2})).json()
    two = (await client.get(place, params={"limit": 2, "cursor": one["next_cursor"]})).json()
    ids = [item["id"] for item in one["items"] + two["items"]]
    assert ids == sorted(str(each.id) for each in kept)
    assert two["next_cursor"] is None
    elsewhere = await client.get(f"/api/v1/jobs/{new_id()}/artifacts", params={"cursor": one["next_cursor"]})
    assert elsewhere.status_code == 422


async def test_other_peoples_artifacts_do_not_exist(
    client: httpx2.AsyncClient, stranger: httpx2.AsyncClient, clients, owner: Principal, artifact: Artifact
):
    other = (await client.post("/api/v1/projects", json={"slug": "other", "name": "Other"})).json()["id"]
    default = (await client.get("/api/v1/projects/default")).json()["id"]
    limited = await clients.with_key(owner.organization_id, project_ids=[other])
    entitled = await clients.with_key(owner.organization_id, project_ids=[default])
    for path in (
        f"/api/v1/jobs/{artifact.job_id}/artifacts",
        f"/api/v1/artifacts/{artifact.id}",
        f"/api/v1/artifacts/{artifact.id}/content",
    ):
        assert (await entitled.get(path)).status_code == 200, path
        for somebody in (stranger, limited):
            assert (await somebody.get(path)).status_code == 404, path


async def test_without_the_permission_there_is_no_download(clients, owner: Principal, artifact: Artifact):
    client = await clients.with_key(owner.organization_id, ["job.read"])
    answer = await client.get(f"/api/v1/artifacts/{artifact.id}/content")
    assert (answer.status_code, answer.json()["facts"]["permission"]) == (403, "artifact.read")


async def test_a_blob_that_is_gone_or_damaged_is_told_before_any_byte(
    client: httpx2.AsyncClient, app: FastAPI, store: Store, owner: Principal, job_id: UUID, tmp_path: Path
):
    kept = await keep.save(store, owner, app.state.shopfloor.blobs, _chunks(b"small"), job_id=job_id, name="x")
    place = f"/api/v1/artifacts/{kept.id}/content"
    [file] = list((tmp_path / "blobs").rglob(kept.digest))
    file.chmod(0o600)
    file.write_bytes(b"smell")
    assert (await client.get(place)).json()["code"] == "blob-corrupt"
    file.unlink()
    gone = await client.get(place)
    assert (gone.status_code, gone.json()["code"]) == (404, "blob-missing")


async def test_a_stream_over_its_limit_leaves_no_row(
    client: httpx2.AsyncClient, app: FastAPI, store: Store, owner: Principal, job_id: UUID
):
    with pytest.raises(BlobTooLarge):
        await keep.save(
            store, owner, app.state.shopfloor.blobs, _chunks(CONTENT), job_id=job_id, name="x", max_bytes=1_000
        )
    assert (await client.get(f"/api/v1/jobs/{job_id}/artifacts")).json()["items"] == []


async def test_recording_twice_changes_nothing_and_odd_media_types_become_bytes(
    store: Store, owner: Principal, job_id: UUID
):
    artifact_id = new_id()
    async with begin(store, owner) as tx:
        for media_type in ("text/html\r\nX: y", "text/plain"):
            kept = await keep.record(
                tx, artifact_id, job_id=job_id, name="x", media_type=media_type, digest="0" * 64, size_bytes=0
            )
        listed = await keep.list_artifacts(tx, job_id, after=None, limit=5)
    assert listed == [kept]
    assert kept.media_type == "application/octet-stream"


@pytest.mark.parametrize("name", ["", "x" * 513, "a\nb", "a\x00b"])
async def test_a_name_that_is_none_is_refused_before_anything_is_stored(
    app: FastAPI, store: Store, owner: Principal, job_id: UUID, name: str, tmp_path: Path
):
    with pytest.raises(InvalidInput):
        await keep.save(store, owner, app.state.shopfloor.blobs, _chunks(b"x"), job_id=job_id, name=name)
    assert not (tmp_path / "blobs").exists()
