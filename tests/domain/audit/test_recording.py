"""Entries and their places, on a real database: nothing is skipped or edited; without a record nothing is changed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import projects
from shopfloor.domain.audit import merkle, store
from shopfloor.domain.audit.export import export
from shopfloor.domain.audit.models import StoredEntry
from shopfloor.domain.audit.note import Checkpoint, VerifierKey
from shopfloor.domain.audit.outside import keep_outside
from shopfloor.domain.audit.proofs import consistency_proof, inclusion_proof, root_at
from shopfloor.domain.audit.sequence import Sequencer
from shopfloor.domain.audit.store import Filters
from shopfloor.domain.audit.verify import Report, verify
from shopfloor.infra.origin import Origin, coming_from
from shopfloor.infra.record import RecordUnavailable
from shopfloor.infra.redaction import MASK
from shopfloor.infra.tx import Store, Tx, begin, begin_system

HERE = Origin("request-0001", "192.0.2.17", "test/1.0")


async def change(recording: Store, owner: Principal, count: int = 1, **after: Any) -> None:
    for _ in range(count):
        async with begin(recording, owner) as tx:
            await tx.record("project.changed", "project", new_id(), after=after or {"priority": 1})


async def entries(recording: Store, owner: Principal) -> list[StoredEntry]:
    """Oldest first."""
    async with begin(recording, owner) as tx:
        return (await store.entries(tx, Filters(), before=None, limit=10_000))[::-1]


async def exported(recording: Store, owner: Principal) -> tuple[list[bytes], VerifierKey]:
    text = b"".join([piece async for piece in export(recording, owner)])
    lines = text.splitlines(keepends=True)
    return lines, VerifierKey.parse(json.loads(lines[0])["key"])


async def checked(recording: Store, owner: Principal) -> Report:
    lines, key = await exported(recording, owner)
    return verify(lines, key)


async def test_an_entry_says_who_what_on_what_from_where_and_when(recording: Store, owner: Principal):
    target, project_id = new_id(), new_id()
    before = {"name": "Shop", "status": "active", "api_key": "sk-fake-0123456789abcdef"}
    after = {
        "name": "Shop",
        "status": "paused",
        "api_key": "sk-fake-abcdef0123456789",
        "url": "https://u:fake@x.example/",
    }
    with coming_from(HERE):
        async with begin(recording, owner) as tx:
            await tx.record("project.changed", "project", target, before=before, after=after, project_id=project_id)

    [entry] = await entries(recording, owner)
    leaf = json.loads(entry.leaf)
    assert leaf.pop("at") <= "9999"
    commitment = leaf["origin"].pop("commitment")
    assert leaf == {
        "v": 1, "id": str(entry.id), "organization": str(owner.organization_id),
        "actor": {"kind": "user", "id": str(owner.id), "user": str(owner.id), "session": None},
        "action": "project.changed", "target": {"kind": "project", "id": str(target)}, "project": str(project_id),
        "before": {"status": "active", "api_key": MASK},
        "after": {"status": "paused", "api_key": MASK, "url": f"https://{MASK}@x.example/"},
        "origin": {"request": "request-0001"}, "result": "done",
    }  # fmt: skip
    assert entry.origin is not None
    assert (entry.origin.address, entry.origin.agent) == ("192.0.2.17", "test/1.0")
    assert "192.0.2.17" not in entry.leaf
    assert len(commitment) == 64


async def test_what_is_too_large_is_cut_and_odd_values_are_texts(recording: Store, owner: Principal):
    deep: Any = "x"
    for _ in range(10):
        deep = {"in": deep}
    odd = {
        "long": "a" * 9_000, "many": list(range(99)), "deep": deep, "huge": 2**70, "nan": float("nan"), "real": 0.5,
        "id": UUID(int=1), "half": "\ud800", "nul": "\x00",
    }  # fmt: skip
    await change(recording, owner, after=odd)
    await change(recording, owner, **{f"field_{number}": "b" * 500 for number in range(40)})
    first, second = await entries(recording, owner)
    kept = json.loads(first.leaf)["after"]["after"]
    assert (len(kept["long"]), kept["many"][-1], kept["huge"], kept["nan"]) == (500, "[49 more]", str(2**70), "nan")
    assert (kept["real"], kept["id"], kept["half"], kept["nul"]) == (0.5, str(UUID(int=1)), "\ufffd", "\ufffd")
    assert "[too deep]" in json.dumps(kept["deep"])
    assert set(json.loads(second.leaf)["after"].values()) == {"[too large]"}


async def test_the_tree_grows_over_checkpoints_and_holds(
    recording: Store, owner: Principal, sequencer: Sequencer, kept: list[tuple[Checkpoint, str]]
):
    for count in (1, 4, 2, 9):
        await change(recording, owner, count)
        assert await sequencer.catch_up() == count
    assert await sequencer.catch_up() == 0
    report = await checked(recording, owner)
    assert (report.bad, report.entries, report.checkpoints) == (None, 16, 4)
    assert [(checkpoint.after, checkpoint.size) for checkpoint, _ in kept] == [(0, 1), (1, 5), (5, 7), (7, 16)]


async def test_proofs_from_the_database_hold_for_every_entry_and_size(
    recording: Store, owner: Principal, sequencer: Sequencer, kept: list[tuple[Checkpoint, str]]
):
    for count in (3, 5, 3):
        await change(recording, owner, count)
        await sequencer.catch_up()
    async with begin(recording, owner) as tx:
        placed = await store.in_tree(tx, 0, 99)
        last = kept[-1][0]
        assert len(placed) == last.size == 11
        for entry, leaf in placed:
            assert entry.index is not None
            assert leaf == merkle.leaf_hash(entry.leaf.encode())
            proof = await inclusion_proof(tx, entry.index)
            assert proof is not None
            assert merkle.is_included(leaf, entry.index, last.size, proof.hashes, last.root)
        for checkpoint, _ in kept:
            between = await consistency_proof(tx, checkpoint.size, last.size)
            assert merkle.is_consistent(checkpoint.size, checkpoint.root, last.size, last.root, between)
            assert await root_at(tx, checkpoint.size) == checkpoint.root


async def test_an_entry_whose_transaction_commits_late_gets_its_place(
    recording: Store, owner: Principal, sequencer: Sequencer
):
    """Written before the others, committed after they were signed: neither its id nor its time is skipped over."""
    async with begin(recording, owner) as late:
        await late.record("project.changed", "project", "late")
        await change(recording, owner, 3)
        assert await sequencer.catch_up() == 3
        await change(recording, owner, 1)
        assert await sequencer.catch_up() == 1
    assert await sequencer.catch_up() == 1
    late_entry = (await entries(recording, owner))[0]
    assert (json.loads(late_entry.leaf)["target"]["id"], late_entry.index) == ("late", 4)
    assert (await checked(recording, owner)).bad is None


async def test_an_entry_whose_transaction_is_undone_leaves_nothing(
    recording: Store, owner: Principal, sequencer: Sequencer
):
    async def fail() -> None:
        async with begin(recording, owner) as tx:
            await tx.record("project.changed", "project", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await sequencer.catch_up() == 0
    assert await entries(recording, owner) == []


async def test_many_writers_and_two_sequencers_leave_one_whole_tree(
    recording: Store, owner: Principal, sequencer: Sequencer, sealer: Any
):
    other = Sequencer(recording, sealer, keep_outside=lambda *_: None)

    async def write() -> None:
        await change(recording, owner, 12)

    async def sequence(one: Sequencer) -> None:
        for _ in range(8):
            await one.catch_up()

    await asyncio.gather(*(write() for _ in range(6)), sequence(sequencer), sequence(other))
    await other.catch_up()
    report = await checked(recording, owner)
    assert (report.bad, report.entries) == (None, 72)


async def test_writers_of_one_organization_do_not_wait_for_each_other(recording: Store, owner: Principal):
    async with begin(recording, owner) as one, begin(recording, owner) as two:
        await one.record("project.changed", "project", "1")
        await two.execute("set local lock_timeout = 1")
        await two.record("project.changed", "project", "2")
    assert len(await entries(recording, owner)) == 2


async def test_each_organization_has_a_log_and_a_key_of_its_own(
    recording: Store, owner: Principal, sequencer: Sequencer
):
    other = Principal("user", new_id(), new_id(), frozenset({"*"}))
    async with begin_system(recording) as tx:
        await tx.execute("insert into organizations (id, name) values (%s, 'Other')", (other.organization_id,))
    await change(recording, owner, 2)
    await change(recording, other, 3)
    assert await sequencer.catch_up() == 5
    mine, my_key = await exported(recording, owner)
    theirs, their_key = await exported(recording, other)
    assert (verify(mine, my_key).entries, verify(theirs, their_key).entries) == (2, 3)
    assert my_key.raw != their_key.raw
    crossed = verify(theirs, my_key).bad
    assert crossed is not None
    async with begin(recording, owner) as tx:
        assert await store.entry(tx, UUID(json.loads(theirs[1])["entry"]["id"])) is None
        assert len(await tx.all("select id from audit_keys")) == 1


async def test_the_system_names_the_organization_it_acts_for(recording: Store, owner: Principal):
    async with begin_system(recording) as tx:
        await tx.record("session.ended", "session", new_id(), organization_id=owner.organization_id)
    [entry] = await entries(recording, owner)
    assert json.loads(entry.leaf)["actor"]["kind"] == "system"
    async with begin_system(recording) as tx:
        with pytest.raises(RecordUnavailable, match=r"session\.ended"):
            await tx.record("session.ended", "session", new_id())


TABLES = ("audit_entries", "audit_origins", "audit_erasures", "audit_nodes", "audit_checkpoints")
CHANGES = ("update {} set organization_id = organization_id", "delete from {}", "truncate {} cascade")


@pytest.mark.parametrize("system", [False, True])
async def test_neither_role_may_change_remove_or_empty_a_table(
    recording: Store, owner: Principal, sequencer: Sequencer, *, system: bool
):
    with coming_from(HERE):
        await change(recording, owner)
    await sequencer.catch_up()
    for statement in (text.format(table) for table in TABLES for text in CHANGES):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with begin_system(recording) if system else begin(recording, owner) as tx:
                await tx.execute(statement)  # type: ignore[arg-type]
    assert (await checked(recording, owner)).entries == 1


async def test_the_owner_is_refused_as_well_also_as_a_replica(
    recording: Store, owner: Principal, sequencer: Sequencer, database_url: str
):
    with coming_from(HERE):
        await change(recording, owner)
    await sequencer.catch_up()
    async with begin_system(recording) as tx:
        await tx.execute("select audit_erase_origins(%s, %s)", (owner.organization_id, new_id()))
    with psycopg.connect(database_url, autocommit=True) as admin:
        for role in ("origin", "replica"):
            admin.execute("select set_config('session_replication_role', %s, false)", (role,))
            for statement in (text.format(table) for table in TABLES for text in CHANGES):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"append-only|alone"):
                    admin.execute(statement)


async def test_an_origin_is_erased_by_the_function_alone_which_leaves_a_trace_and_a_whole_log(
    recording: Store, owner: Principal, sequencer: Sequencer
):
    with coming_from(HERE):
        await change(recording, owner, 3)
    await sequencer.catch_up()
    async with begin(recording, owner) as tx:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await tx.execute("select audit_erase_origins(%s, %s)", (owner.organization_id, owner.id))
    async with begin_system(recording) as tx:
        await tx.execute("select audit_erase_origins(%s, %s)", (owner.organization_id, owner.id))
    assert [entry.origin for entry in await entries(recording, owner)] == [None, None, None]
    report = await checked(recording, owner)
    assert (report.bad, report.entries, report.erased) == (None, 3, 3)
    async with begin(recording, owner) as tx:
        assert await tx.all("select subject_id, rows, role from audit_erasures") == [
            {"subject_id": owner.id, "rows": 3, "role": "shopfloor_system"}
        ]


Break = Callable[[psycopg.Connection[Any]], None]
BREAKS: dict[str, Break] = {
    "the right to insert is gone": lambda admin: _run(admin, "revoke insert on audit_entries from shopfloor_app"),
    "the table is gone": lambda admin: _run(admin, "alter table audit_entries rename to audit_entries_away"),
    "the origins' table is gone": lambda admin: _run(admin, "alter table audit_origins rename to audit_origins_away"),
    "a trigger fails": lambda admin: _run(
        admin,
        "create function broken() returns trigger language plpgsql as 'begin raise disk_full; end'",
        "create trigger broken before insert on audit_entries execute function broken()",
    ),
    "a check refuses": lambda admin: _run(admin, "alter table audit_entries add check (action = 'never') not valid"),
}


def _run(admin: psycopg.Connection[Any], *statements: str) -> None:
    for statement in statements:
        admin.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BREAKS)
async def test_without_a_record_nothing_is_changed_and_reads_go_on(
    recording: Store, owner: Principal, database_url: str, name: str
):
    async def make(slug: str) -> None:
        with coming_from(HERE):
            async with begin(recording, owner) as tx:
                await projects.create_project(tx, slug=slug, name="Shop", fields={})

    async def slugs() -> set[str]:
        async with begin(recording, owner) as tx:
            await tx.record_read("job.diff-read", "job", new_id())
            return {project.slug for project in await projects.list_projects(tx, after=None, limit=50)}

    await make("before")  # the control: it is the break that refuses
    with psycopg.connect(database_url, autocommit=True) as admin:
        BREAKS[name](admin)
    with pytest.raises(RecordUnavailable, match="nothing was changed") as refused:
        await make("during")
    assert (refused.value.status, refused.value.code(), refused.value.retryable) == (503, "record-unavailable", True)
    assert await slugs() == {"default", "before"}


Work = Callable[[Tx], Awaitable[Any]]
FORGE_SIZE = "update audit_checkpoints set note = replace(note, e'\\n3\\n', e'\\n2\\n') where size = 3"
FORGE_TIME = """update audit_entries set leaf = replace(leaf, '"at":"2', '"at":"1') where {third}"""
FORGE_ACTION = "update audit_entries set leaf = replace(leaf, 'project.changed', 'project.removed') where {third}"
EXCHANGE = (
    "alter table audit_nodes drop constraint audit_nodes_entry_id_key",
    (
        "update audit_nodes n set entry_id = o.entry_id, hash = o.hash from audit_nodes o "
        "where n.level = 0 and o.level = 0 and n.index in (1, 2) and o.index = 3 - n.index"
    ),
)
DATABASE_EDITS: dict[str, tuple[tuple[str, ...], str]] = {
    "an entry's leaf": ((FORGE_ACTION,), "changed"),
    "an entry's time": ((FORGE_TIME,), "changed"),
    "an entry removed": (("delete from audit_nodes where level = 0 and index = 2",), "missing"),
    "the last entries removed": (("delete from audit_nodes where level = 0 and index > 3",), "missing"),
    "a leaf's hash": (("update audit_nodes set hash = sha256('x') where level = 0 and index = 2",), "changed"),
    "two entries exchanged": (EXCHANGE, "reordered"),
    "a checkpoint's size": ((FORGE_SIZE,), "forged"),
    "a checkpoint removed": (("delete from audit_checkpoints where size = 3",), "missing"),
    "an origin's address": (("update audit_origins set address = '198.51.100.1'",), "changed"),
    "an origin's salt": (("update audit_origins set salt = sha256('x')",), "changed"),
    "another key": (("update audit_checkpoints set note = replace(note, '— ', '- ')",), "forged"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATABASE_EDITS)
async def test_what_the_owner_edits_behind_our_back_is_named(
    recording: Store, owner: Principal, sequencer: Sequencer, database_url: str, name: str
):
    with coming_from(HERE):
        for _ in range(2):
            await change(recording, owner, 3)
            await sequencer.catch_up()
    assert (await checked(recording, owner)).bad is None  # the control
    statements, wrong = DATABASE_EDITS[name]
    with psycopg.connect(database_url, autocommit=True) as admin:
        for table in ("audit_entries", "audit_origins", "audit_nodes", "audit_checkpoints"):
            admin.execute(f"alter table {table} disable trigger user")
        third = "id = (select entry_id from audit_nodes where level = 0 and index = 2)"
        _run(admin, *(statement.replace("{third}", third) for statement in statements))
    bad = (await checked(recording, owner)).bad
    assert bad is not None
    assert bad.wrong == wrong, bad


async def test_the_signing_key_is_stored_sealed(recording: Store, owner: Principal, sequencer: Sequencer, sealer: Any):
    await change(recording, owner)
    await sequencer.catch_up()
    async with begin(recording, owner) as tx:
        row = await tx.one("select id, public_key, sealed_key from audit_keys")
        assert row is not None
        place = f"audit_keys/{row['id']}/sealed_key"
        opened = base64.b64decode(await sealer.open(tx, owner.organization_id, place, row["sealed_key"]))
    assert opened not in row["sealed_key"]
    assert Ed25519PrivateKey.from_private_bytes(opened).public_key().public_bytes_raw() == row["public_key"]


async def test_entries_wait_where_the_tree_cannot_be_written_and_get_their_place_later(
    recording: Store, owner: Principal, sequencer: Sequencer, database_url: str
):
    await change(recording, owner, 2)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("revoke insert on audit_nodes from shopfloor_system")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await sequencer.catch_up()
        await change(recording, owner, 1)  # what people do goes on, recorded
        admin.execute("grant insert on audit_nodes to shopfloor_system")
    assert await sequencer.catch_up() == 3
    assert (await checked(recording, owner)).bad is None


async def test_a_checkpoint_folder_that_cannot_be_written_stops_nothing(
    recording: Store, owner: Principal, sealer: Any, tmp_path: Path
):
    (tmp_path / "file").write_text("no folder")
    good, bad = tmp_path / "audit", tmp_path / "file" / "audit"
    for folder in (bad, good):
        one = Sequencer(recording, sealer, keep_outside=partial(keep_outside, folder))
        await change(recording, owner)
        assert await one.catch_up() == 1
    [file] = good.iterdir()
    assert file.name == f"{owner.organization_id}.jsonl"
    lines, key = await exported(recording, owner)
    report = verify(lines, key, against=file.read_bytes().splitlines(keepends=True))
    assert (report.bad, report.checkpoints) == (None, 2)
