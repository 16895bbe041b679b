"""Bare copies of remote repositories, one a URL and tenant, from which every job of that repository starts."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from shopfloor.engine.git.command import Bounds, Git
from shopfloor.engine.git.errors import (
    GitTimeout,
    RefUnknown,
    RepositoryRefused,
    RepositoryTooLarge,
    explain,
)
from shopfloor.engine.git.refs import SHA, RemoteRef, find_ref, unknown_ref
from shopfloor.engine.git.urls import Credentials, RepositoryUrl, check_repository_url
from shopfloor.infra.outbound import Resolver

_INCOMING = "refs/shopfloor/incoming"
_LOCK_POLL_S = 0.05
_SLACK_BYTES = 1_048_576
_PACKS_BEFORE_REPACK = 30
# Faults of old commits that well-known histories hold and that harm nobody; everything else that fsck finds is refused.
_TOLERATED = ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that is here now and stays: it is pinned by a ref of its own."""

    repository: Path  # bare, ours
    sha: str
    ref: str  # the full name it was found under, or its id


class RepositoryCache:
    """The cache in one folder; several workers of a machine may share it (a file lock a repository).

    Each fetch asks the server first, so that a copy is never given to someone whom the server would refuse.
    """

    def __init__(self, folder: Path, git: Git, *, resolver: Resolver | None = None) -> None:
        self._folder = folder
        self._git = git
        self._resolver = resolver

    async def fetch(
        self, url: str, ref: str | None = None, *, credentials: Credentials | None = None, scope: str = ""
    ) -> Commit:
        """The commit that `ref` (branch, tag, full commit id; None: the default branch) names on the server now.

        `scope` keeps tenants apart: use the organization's id. Raises: UrlRefused, HostUnknown, RefUnknown,
        RepositoryUnknown, CredentialsRefused, RepositoryTooLarge, RepositoryRefused, RemoteUnavailable, GitTimeout.
        """
        await self._git.require_version()
        target = await check_repository_url(url, self._git.settings.outbound, resolver=self._resolver)
        wanted = await find_ref(self._git, target, ref, credentials)
        repository = self._place(target.url, scope)
        async with self._locked(repository):
            await self._ensure(repository)
            if not await self._has(repository, wanted.sha):
                await self._download(repository, target, wanted, credentials)
                wanted = RemoteRef(wanted.name, await self._arrived(repository, target, wanted))
            await self._git.check(["update-ref", f"refs/shopfloor/commits/{wanted.sha}", wanted.sha], repository)
        return Commit(repository, wanted.sha, wanted.name)

    async def evict(self, *, idle_s: float = 86_400.0, keep_bytes: int = 0) -> int:
        """Remove copies nobody fetched for `idle_s`, least recent first, until `keep_bytes` are left; how many.

        `idle_s` has to exceed the longest job: results borrow objects from the copy they started from.
        """
        idle = await asyncio.to_thread(_idle_copies, self._folder, time.time() - idle_s)
        total = await asyncio.to_thread(tree_bytes, self._folder)
        removed = 0
        for repository in idle:
            if total <= keep_bytes:
                break
            async with self._locked(repository):
                total -= await asyncio.to_thread(tree_bytes, repository)
                await asyncio.to_thread(shutil.rmtree, repository, ignore_errors=True)
            removed += 1
        return removed

    def _place(self, url: str, scope: str) -> Path:
        key = hashlib.sha256(f"{scope}\n{url}".encode()).hexdigest()
        return self._folder / f"{key}.git"

    @contextlib.asynccontextmanager
    async def _locked(self, repository: Path) -> AsyncGenerator[None]:
        """Alone in the repository, across processes. Raises: GitTimeout."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        limit_s = self._git.settings.lock_timeout_s
        with (self._folder / f"{repository.name}.lock").open("wb") as file:
            try:
                async with asyncio.timeout(limit_s):
                    while not _try_lock(file.fileno()):  # noqa: ASYNC110 - another process holds it: no event to wait for
                        await asyncio.sleep(_LOCK_POLL_S)
            except TimeoutError as error:
                raise GitTimeout(
                    f"Another job has been fetching this repository for {limit_s:g} s. Try again later."
                ) from error
            yield

    async def _ensure(self, repository: Path) -> None:
        if (repository / "HEAD").exists():
            await asyncio.to_thread(_sweep, repository)
            os.utime(repository)
            return
        await init_bare(self._git, repository)

    async def _has(self, repository: Path, sha: str) -> bool:
        output = await self._git.run(["rev-parse", "--verify", "--quiet", f"refs/shopfloor/commits/{sha}"], repository)
        return output.exit_code == 0

    async def _download(
        self, repository: Path, target: RepositoryUrl, wanted: RemoteRef, credentials: Credentials | None
    ) -> None:
        settings = self._git.settings
        limit = settings.max_repository_bytes

        def refuse_when_large() -> None:
            if tree_bytes(repository) > limit:
                raise RepositoryTooLarge(
                    f"{target.url} is larger than the {limit // 1024**2} MiB that this installation allows.",
                    limit_bytes=limit,
                    repository=target.url,
                )

        try:
            output = await self._git.run(
                ["fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--no-auto-maintenance",
                 "--no-recurse-submodules", "--", target.url, f"+{wanted.name}:{_INCOMING}"],
                repository,
                config=target.config | {f"fetch.fsck.{fault}": "ignore" for fault in _TOLERATED},
                env=target.environment(credentials),
                protocols=target.checked.scheme,
                bounds=Bounds(timeout_s=settings.transfer_timeout_s, max_file_bytes=limit + _SLACK_BYTES),
                watch=refuse_when_large,
            )  # fmt: skip
            if output.exit_code != 0:
                await asyncio.to_thread(refuse_when_large)  # the kernel may have stopped it before the watch looked
        finally:
            await asyncio.shield(asyncio.to_thread(_sweep, repository))
        if output.exit_code != 0:
            error = explain(output.stderr, target.url)
            raise unknown_ref(target.url, wanted.name) if isinstance(error, RefUnknown) else error
        await self._tidy(repository)

    async def _arrived(self, repository: Path, target: RepositoryUrl, wanted: RemoteRef) -> str:
        """The commit that was fetched. It may be newer than what the server told: a branch moves."""
        output = await self._git.run(["rev-parse", "--verify", "--quiet", f"{_INCOMING}^{{commit}}"], repository)
        sha = output.stdout.decode().strip()
        if output.exit_code != 0 or not SHA.fullmatch(sha):
            raise RepositoryRefused(f"{wanted.name} of {target.url} is not a commit.", repository=target.url)
        return sha

    async def _tidy(self, repository: Path) -> None:
        """Each fetch leaves one pack; many make every look-up slow."""
        packs = await asyncio.to_thread(lambda: len(list((repository / "objects/pack").glob("*.pack"))))
        if packs > _PACKS_BEFORE_REPACK:
            await self._git.run(["repack", "-d", "--geometric=2", "--quiet"], repository)


async def init_bare(git: Git, repository: Path, *, borrow_from: Path | None = None) -> None:
    """An empty bare repository, without hooks or templates; `borrow_from` lends it its objects."""
    await asyncio.to_thread(repository.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
    await git.check(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(repository)])
    if borrow_from is not None:
        await asyncio.to_thread(_borrow, repository, borrow_from)


def _borrow(repository: Path, lender: Path) -> None:
    (repository / "objects/info").mkdir(exist_ok=True)
    (repository / "objects/info/alternates").write_text(f"{lender.resolve() / 'objects'}\n")
    if (lender / "shallow").exists():
        shutil.copyfile(lender / "shallow", repository / "shallow")


def tree_bytes(folder: Path) -> int:
    """The sum of the sizes of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(base) / name).lstat().st_size
    return total


def _sweep(repository: Path) -> None:
    """What a killed fetch leaves: only called by the holder of the lock."""
    for leftover in [*(repository / "objects").rglob("tmp_*"), *repository.glob("*.lock")]:
        leftover.unlink(missing_ok=True)
    (repository / f"{_INCOMING}.lock").unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _idle_copies(folder: Path, before: float) -> list[Path]:
    ages = [(item.stat().st_mtime, item) for item in folder.glob("*.git")]
    return [item for age, item in sorted(ages) if age < before]
