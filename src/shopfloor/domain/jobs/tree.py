"""A job's files on a worker: where they start, each snapshot of them, and what came of it in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shopfloor.domain.jobs import store
from shopfloor.domain.jobs.journal import StoredSnapshot
from shopfloor.domain.jobs.lease import Lease, hold_fast
from shopfloor.domain.jobs.models import Job
from shopfloor.engine.git import bundles, checkout
from shopfloor.engine.git.cache import Commit, RepositoryCache
from shopfloor.engine.git.command import Git
from shopfloor.engine.git.diff import Diff, diff, patch
from shopfloor.engine.git.errors import SnapshotFailed, WorkspaceFull
from shopfloor.engine.git.unpack import empty_commit, starting_bundle, unpack
from shopfloor.engine.git.urls import Credentials
from shopfloor.engine.workspace import Workspace
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.tx import Store, Tx, perform

CredentialsOf = Callable[[Job], Awaitable[Credentials | None]]  # what the server of its repository is shown


class JobTree:
    """One run's view. `base` is where the job started, `head` its newest snapshot; the platform checked both."""

    def __init__(self, git: Git, blobs: BlobStore, folder: Path, base: Commit, bundle: str, results: Path) -> None:
        self._git = git
        self._blobs = blobs
        self._folder = folder
        self._base_bundle = bundle
        self._increments: list[StoredSnapshot] = []
        self.base = base
        self.results = results

    @property
    def head(self) -> str:
        """The commit of the newest snapshot, or the base."""
        return self._increments[-1].sha if self._increments else self.base.sha

    async def load(self, workspace: Workspace, *, at_base: bool = False) -> None:
        """Fill an empty workspace with the tree at `head` (or at the base)."""
        await checkout.load(workspace, self._blobs.open(self._base_bundle), self.base.sha)
        if at_base or not self._increments:
            return
        for increment in self._increments:
            await checkout.apply_increment(workspace, self._blobs.open(increment.digest), increment.sha)
        await checkout.restore(workspace, self.head)

    async def take(self, workspace: Workspace) -> StoredSnapshot | None:
        """Store what changed since `head`: checked by the platform's Git, and in the blob store, before it counts.

        Raises: WorkspaceFull, SnapshotFailed; BundleRefused for what no Git makes.
        """
        try:
            taken = await self._snapshot(workspace)
        except WorkspaceFull:
            raise
        except SnapshotFailed:
            await self._mend(workspace)
            taken = await self._snapshot(workspace)
        if taken is None:
            return None
        file = self._folder / "incoming.bundle"
        await _write(file, taken.chunks)
        await bundles.fetch_untrusted(self._git, file, self.results, expected=taken.sha, previous=self.head)
        blob = await self._blobs.put(_read(file))
        snapshot = StoredSnapshot(taken.sha, blob.digest)
        self._increments.append(snapshot)
        return snapshot

    async def _snapshot(self, workspace: Workspace) -> checkout.Snapshot | None:
        return await checkout.snapshot(workspace, self.head, max_bytes=self._git.settings.max_bundle_bytes)

    async def _mend(self, workspace: Workspace) -> None:
        """The agent damaged `.git`: lay a new one below the files as they are."""
        await checkout.load(workspace, self._blobs.open(self._base_bundle), self.base.sha, keep_tree=True)
        for increment in self._increments:
            await checkout.apply_increment(workspace, self._blobs.open(increment.digest), increment.sha)

    async def adopt(self, recorded: list[tuple[str, str]]) -> None:
        """Go on from the snapshots that earlier runs recorded."""
        for sha, digest in recorded:
            file = self._folder / "incoming.bundle"
            await _write(file, self._blobs.open(digest))
            await bundles.fetch_untrusted(self._git, file, self.results, expected=sha, previous=self.head)
            self._increments.append(StoredSnapshot(sha, digest))

    async def diff(self, *, max_patch_bytes: int) -> Diff:
        """From the base to `head`, made by the platform from objects it has checked."""
        return await diff(self._git, self.results, self.base.sha, self.head, max_patch_bytes=max_patch_bytes)

    async def save_patch(self) -> tuple[str, int]:
        """The whole change for `git apply` as a blob: its digest and size."""
        blob = await self._blobs.put(patch(self._git, self.results, self.base.sha, self.head))
        return blob.digest, blob.size_bytes


async def open_tree(
    shop: Store,
    lease: Lease,
    *,
    git: Git,
    cache: RepositoryCache,
    blobs: BlobStore,
    folder: Path,
    credentials_of: CredentialsOf,
) -> JobTree:
    """The tree of the job: fetched and stored at its first run, taken from the store at every later one.

    Raises: what RepositoryCache.fetch raises; BlobMissing, BlobCorrupt; LeaseLost.
    """
    job = lease.job
    if job.base_bundle is not None and job.base_commit is not None:
        file = folder / "base.bundle"
        await _write(file, blobs.open(job.base_bundle))
        base, digest = await unpack(git, file, folder / "base.git", job.base_commit), job.base_bundle
    else:
        base = await _first(lease, git=git, cache=cache, folder=folder, credentials_of=credentials_of)
        digest = (await blobs.put(starting_bundle(git, base))).digest
        await perform(shop, lease.principal, lambda tx: _keep(tx, lease, base.sha, digest))
    results = await bundles.open_results(git, base, folder)
    tree = JobTree(git, blobs, folder, base, digest, results)
    await tree.adopt(await perform(shop, lease.principal, lambda tx: store.snapshots(tx, lease.job_id)))
    return tree


def changes_of(found: Diff) -> list[dict[str, Any]]:
    """The changed files as they are stored and served."""
    return [asdict(change) for change in found.files]


async def _first(
    lease: Lease, *, git: Git, cache: RepositoryCache, folder: Path, credentials_of: CredentialsOf
) -> Commit:
    job = lease.job
    if job.repo_url is None:
        return await empty_commit(git, folder / "base.git")
    credentials = await credentials_of(job)
    return await cache.fetch(job.repo_url, job.repo_ref, credentials=credentials, scope=str(job.organization_id))


async def _keep(tx: Tx, lease: Lease, sha: str, digest: str) -> None:
    await hold_fast(tx, lease)
    await tx.execute(
        "update jobs set base_commit = %s, base_bundle = %s, updated_at = now() where id = %s",
        (sha, digest, lease.job_id),
    )


async def _write(file: Path, chunks: AsyncIterator[bytes]) -> None:
    with file.open("wb") as handle:
        async for chunk in chunks:
            await asyncio.to_thread(handle.write, chunk)


async def _read(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as handle:
        while chunk := await asyncio.to_thread(handle.read, 1_048_576):
            yield chunk
