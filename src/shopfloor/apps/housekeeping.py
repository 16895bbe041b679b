"""What a worker clears up beside its jobs: sandboxes and folders of workers that died, and what grew too large."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from shopfloor.base.clock import Clock
from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import parse_id
from shopfloor.domain.accounts.retention import forget_old
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.sandbox.port import Sandboxes
from shopfloor.infra.blobs import FolderBlobs
from shopfloor.infra.tx import Store, begin_system

_REAP_S = 20.0
_TIDY_S = 3_600.0
_ABANDONED_S = 600.0  # a folder that young may belong to a run that is just being claimed
_UNUSED_REPOSITORY_S = 7 * 86_400.0  # longer than any job: results borrow objects from the copy they started from
_KEEP_ENVIRONMENTS = 50
_KEEP_REPOSITORY_BYTES = 20 * 1024**3


async def reap(store: Store, sandboxes: Sandboxes, clock: Clock) -> None:
    """Again and again, until cancelled: remove every sandbox of this installation that no running job owns."""
    doubted: set[UUID] = set()
    while True:
        with suppress(ShopfloorError):
            live = await _running(store, "job_id")
            doubted = await _reap_once(sandboxes, clock, live, doubted)
        await asyncio.sleep(_REAP_S)


async def _reap_once(sandboxes: Sandboxes, clock: Clock, live: set[UUID], doubted: set[UUID]) -> set[UUID]:
    """The jobs that seemed dead. A sandbox goes at the second time only: its job may have been claimed meanwhile."""
    seen: set[UUID] = set()

    def is_live(job_id: UUID) -> bool:
        if job_id in live:
            return True
        seen.add(job_id)
        return job_id not in doubted

    await sandboxes.reap(is_live, now=clock.now())
    return seen


async def tidy(
    store: Store, sandboxes: Sandboxes, blobs: FolderBlobs, cache: RepositoryCache, work_folder: Path
) -> None:
    """Each hour, until cancelled: folders of dead runs, half-written blobs, what nobody asked for any more."""
    while True:
        with suppress(ShopfloorError, OSError):
            running = await _running(store, "id")
            await asyncio.to_thread(_remove_abandoned, work_folder, running.__contains__)
            await blobs.sweep()
            await cache.evict(idle_s=_UNUSED_REPOSITORY_S, keep_bytes=_KEEP_REPOSITORY_BYTES)
            await sandboxes.prune_environments(keep=_KEEP_ENVIRONMENTS)
            await forget_old(store)
        await asyncio.sleep(_TIDY_S)


async def _running(store: Store, column: str) -> set[UUID]:
    async with begin_system(store) as tx:
        rows = await tx.all("select id, job_id from runs where state = 'running'")
    return {row[column] for row in rows}


def _remove_abandoned(work_folder: Path, is_running: Callable[[UUID], bool]) -> None:
    if not work_folder.is_dir():
        return
    oldest = time.time() - _ABANDONED_S
    for folder in work_folder.iterdir():
        run_id = parse_id(folder.name)
        if run_id is not None and not is_running(run_id) and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)
