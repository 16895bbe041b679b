"""A job that ends while no worker has it keeps the diff of what it had done."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from ledgers import ledger_of
from shopfloor.base.clock import SystemClock
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.bench import Bench
from shopfloor.domain.jobs.control import cancel
from shopfloor.domain.jobs.events import JobFinished
from shopfloor.domain.jobs.journal import JobJournal, Record, StoredSnapshot
from shopfloor.domain.jobs.late_diff import arguments_of, make_late_diff
from shopfloor.domain.jobs.lease import Lease, park
from shopfloor.domain.jobs.lifecycle import WaitingReason
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.tree import JobTree, open_tree
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.command import Git
from shopfloor.engine.providers.port import ProviderError
from shopfloor.infra.blobs import FolderBlobs
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, begin
from shopfloor.testing.folder_workspace import FolderWorkspace


async def test_a_job_cancelled_while_it_waits_gets_its_diff_afterwards_and_only_once(
    make_job, claim, store: Store, owner: Principal, tmp_path: Path
):
    bench, job = _bench(store, tmp_path), await make_job()
    lease = await claim(job.id)
    await _work_a_little(bench, lease, tmp_path)
    async with begin(store, lease.principal) as tx:
        await park(tx, lease, WaitingReason.PROVIDER, wait_s=60, error=ProviderError("down"))
    async with begin(store, owner) as tx:
        await cancel(tx, job.id)

    for _ in range(2):
        await make_late_diff(bench, job.id, owner.organization_id)

    async with begin(store, owner) as tx:
        ended = await jobs.job(tx, job.id)
        kept = await tx.all("select name from artifacts where job_id = %s", (job.id,))
    assert ended.state == "cancelled"
    assert [change["path"] for change in ended.changes or []] == ["made.txt"]
    assert kept == [{"name": "changes.patch"}]
    assert b"+by the agent" in b"".join([piece async for piece in bench.blobs.open(ended.patch_digest or "")])


async def test_a_job_that_still_waits_gets_none(make_job, store: Store, owner: Principal, tmp_path: Path):
    job = await make_job()
    await make_late_diff(_bench(store, tmp_path), job.id, owner.organization_id)
    async with begin(store, owner) as tx:
        assert (await jobs.job(tx, job.id)).patch_digest is None


def test_the_tasks_arguments_are_ids(owner: Principal):
    event = JobFinished(owner.organization_id, owner.id, "cancelled")
    assert arguments_of(event) == {"job_id": str(owner.id), "organization_id": str(owner.organization_id)}


async def _work_a_little(bench: Bench, lease: Lease, tmp_path: Path) -> None:
    """One tool call that writes a file, journaled with its snapshot."""
    folder = tmp_path / "run"
    folder.mkdir()
    tree = await open_tree(
        bench.store,
        lease,
        git=bench.git,
        cache=bench.cache,
        blobs=bench.blobs,
        folder=folder,
        credentials_of=bench.credentials_of,
    )
    (tmp_path / "work").mkdir()
    workspace = FolderWorkspace(tmp_path / "work")
    await tree.load(workspace)
    journal = JobJournal(bench.store, lease, bench.notifier, _Snapshots(tree, workspace), Record())

    async def write() -> dict[str, Any]:
        await workspace.write_file("made.txt", b"by the agent\n")
        return {"ok": True, "text": "written"}

    await journal.tool_result(1, "call-1", "write_file", {"path": "made.txt"}, "tree", write)


class _Snapshots:
    def __init__(self, tree: JobTree, workspace: FolderWorkspace) -> None:
        self._tree, self._workspace = tree, workspace

    async def take(self) -> StoredSnapshot | None:
        return await self._tree.take(self._workspace)


def _bench(store: Store, tmp_path: Path) -> Bench:
    """Everything but what only a running job needs."""
    git, nothing = Git(), cast_any(None)
    return Bench(
        store=store,
        ledger=ledger_of(store),
        notifier=Notifier(store.database),
        sandboxes=nothing,
        git=git,
        cache=RepositoryCache(tmp_path / "repositories", git),
        blobs=FolderBlobs(tmp_path / "blobs"),
        settings=JobsSettings(),
        sandbox_limits=nothing,
        clock=SystemClock(),
        chance=random.Random(1),
        work_dir=tmp_path / "late",
        agents={},
        open_model=nothing,
        credentials_of=_no_credentials,
    )


async def _no_credentials(_: Any) -> None:
    """Nothing here is fetched."""


def cast_any(value: Any) -> Any:
    return value
