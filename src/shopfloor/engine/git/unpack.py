"""Where a job's repository begins on a worker: a bundle that the platform made, unpacked; or nothing, made a commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from shopfloor.engine.git.bundles import create
from shopfloor.engine.git.cache import Commit, init_bare
from shopfloor.engine.git.command import Bounds, Git

_WHOLE_HISTORY_BYTES = 64 * 1024**2  # above it an agent gets the one commit: history is for reading, not worth minutes
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Shopfloor"), ("EMAIL", "shopfloor@localhost.invalid"), ("DATE", "@0 +0000"))
}


async def starting_bundle(git: Git, commit: Commit) -> AsyncIterator[bytes]:
    """The bundle that every sandbox of a job starts from: with history if that is small, else the commit alone."""
    size = await git.check(["rev-list", "--disk-usage", "--objects", commit.sha, "--"], commit.repository)
    async for piece in create(git, commit, shallow=int(size) > _WHOLE_HISTORY_BYTES):
        yield piece


async def unpack(git: Git, bundle: Path, into: Path, sha: str) -> Commit:
    """A new bare repository with what `starting_bundle` wrote. Only for bundles of the platform's own."""
    await init_bare(git, into)
    bounds = Bounds(timeout_s=git.settings.transfer_timeout_s)
    await git.check(["bundle", "unbundle", str(bundle)], into, bounds=bounds)
    parents = (await git.check(["cat-file", "commit", sha], into)).partition(b"\n\n")[0].split(b"\n")
    for line in parents:
        if line.startswith(b"parent ") and not await _holds(git, into, line[7:].decode()):
            (into / "shallow").write_text(f"{sha}\n", encoding="ascii")
    await git.check(["update-ref", f"refs/shopfloor/commits/{sha}", sha], into)
    return Commit(into, sha, sha)


async def empty_commit(git: Git, into: Path) -> Commit:
    """A new bare repository with one commit that holds no file: for a job without a repository."""
    await init_bare(git, into)
    tree = (await git.check(["hash-object", "-t", "tree", "-w", "--stdin"], into, stdin=b"")).decode().strip()
    made = await git.check(["commit-tree", tree, "-m", "An empty workspace"], into, env=_IDENTITY)
    sha = made.decode().strip()
    await git.check(["update-ref", f"refs/shopfloor/commits/{sha}", sha], into)
    return Commit(into, sha, sha)


async def _holds(git: Git, repository: Path, sha: str) -> bool:
    return (await git.run(["cat-file", "-e", sha], repository)).exit_code == 0
