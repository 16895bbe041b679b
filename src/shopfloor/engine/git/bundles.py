"""Bundles: how a commit gets into a sandbox, and how what was made there comes back without being trusted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from shopfloor.engine.git.cache import Commit, init_bare
from shopfloor.engine.git.command import Bounds, FilePart, Git
from shopfloor.engine.git.errors import BundleRefused, GitFailed, GitMissing, RepositoryUnknown, bundle_refused, quote

BRANCH = "refs/heads/shopfloor"  # the one ref of a bundle that goes in
SNAPSHOT_REF = "refs/shopfloor/snap"  # the one ref of a bundle that comes out
_HEADER_BYTES = 65_536
_V2 = b"# v2 git bundle\n"
_PACK = re.compile(rb"PACK\x00\x00\x00[\x02\x03](....)", re.DOTALL)
_TIP = re.compile(rf"[0-9a-f]{{40}} ({SNAPSHOT_REF}|refs/shopfloor/outgoing-[0-9]+)")
_LOCAL_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class BundleHeader:
    """What a bundle says of itself. Source: gitformat-bundle(5), version 2."""

    prerequisites: tuple[str, ...]  # commits that the receiver has to have
    tip: str
    objects: int  # as the pack counts them
    size_bytes: int  # of the header


async def create(git: Git, commit: Commit, *, shallow: bool = False) -> AsyncGenerator[bytes, None]:
    """A bundle of `commit` with its whole history, or of it alone, in pieces. Raises: GitFailed.

    `checkout.load` takes both kinds. A copy that is itself shallow gives a shallow one.
    """
    shallow = shallow or await asyncio.to_thread((commit.repository / "shallow").exists)
    yield _V2 + f"{commit.sha} {BRANCH}\n\n".encode()
    revisions = f"--shallow {commit.sha}\n{commit.sha}\n" if shallow else f"{commit.sha}\n"
    pack = git.stream(
        ["pack-objects", "--quiet", "--revs", "--stdout", "--delta-base-offset", "--threads=2"],
        commit.repository,
        stdin=revisions.encode(),
        bounds=Bounds(timeout_s=git.settings.transfer_timeout_s),
    )
    async with contextlib.aclosing(pack):
        async for piece in pack:
            yield piece


async def open_results(git: Git, base: Commit, folder: Path) -> Path:
    """A new bare repository in `folder` for what one sandbox makes; it borrows the objects `base` comes from."""
    repository = folder / "results.git"
    await init_bare(git, repository, borrow_from=base.repository)
    await git.check(["update-ref", "refs/shopfloor/base", base.sha], repository)
    return repository


async def fetch_untrusted(git: Git, bundle: Path, repository: Path, *, expected: str, previous: str) -> str:
    """Take one bundle out of a sandbox into a repository of `open_results`; the commit's id, which is `expected`.

    Git never parses the header or opens anything else that the sandbox wrote: the pack alone goes to index-pack, with
    strict object checks and bounds of size, count, memory and time. The commit's one parent has to be `previous`.
    Raises: BundleRefused, GitTimeout.
    """
    settings = git.settings
    header = await asyncio.to_thread(read_header, bundle, max_bytes=settings.max_bundle_bytes)
    _refuse_header(header, expected=expected, previous=previous, max_objects=settings.max_bundle_objects)
    output = await git.run(
        ["index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1",
         f"--max-input-size={settings.max_bundle_bytes}"],
        repository,
        stdin=FilePart(bundle, header.size_bytes),
        bounds=Bounds(max_file_bytes=4 * settings.max_bundle_bytes, max_memory_bytes=settings.max_memory_bytes),
    )  # fmt: skip
    if output.exit_code != 0:
        raise bundle_refused(output.stderr)
    await _refuse_commit(git, repository, expected, previous)
    await git.check(["update-ref", f"refs/shopfloor/snapshots/{expected}", expected], repository)
    return expected


async def bundle_from_local(
    path: Path, into: Path, *, include_uncommitted: bool = False, executable: str = "git"
) -> Commit:
    """A bare copy, in `into`, of HEAD of the user's own repository at `path`: for `shopfloor run --repo .` only.

    It runs the user's `git` with the user's configuration and rights, as they would themselves. With
    `include_uncommitted` the changed and the untracked, not ignored files go along as one more commit; neither the
    user's index nor their branches are touched. Raises: RepositoryUnknown, GitFailed, GitMissing.
    """
    own = _OwnGit(executable, path)
    top = Path((await own.run("rev-parse", "--show-toplevel")).decode().rstrip("\n"))
    sha = (await own.run("rev-parse", "--verify", "HEAD^{commit}")).decode().strip()
    with tempfile.TemporaryDirectory(prefix="shopfloor-") as scratch:
        if include_uncommitted:
            sha = await _commit_uncommitted(_OwnGit(executable, top), sha, Path(scratch) / "index")
        bundle = Path(scratch) / "local.bundle"
        await own.bundle(sha, bundle)
        git = Git()
        await init_bare(git, into)
        header = await asyncio.to_thread(read_header, bundle, max_bytes=2**63)
        pack = FilePart(bundle, header.size_bytes)
        await git.check(["index-pack", "--stdin"], into, stdin=pack, bounds=Bounds(timeout_s=_LOCAL_TIMEOUT_S))
        if (await own.run("rev-parse", "--is-shallow-repository")).strip() == b"true":
            await asyncio.to_thread((into / "shallow").write_text, f"{sha}\n")
    await git.check(["update-ref", f"refs/shopfloor/commits/{sha}", sha], into)
    return Commit(into, sha, "HEAD")


def read_header(bundle: Path, *, max_bytes: int) -> BundleHeader:
    """The header of a bundle, parsed strictly: one ref, known forms only. Raises: BundleRefused."""
    if bundle.stat().st_size > max_bytes:
        raise BundleRefused(f"The bundle is larger than {max_bytes} bytes. Large files don't belong into a repository.")
    with bundle.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    head, blank, pack = start.partition(b"\n\n")
    magic = _PACK.match(pack)
    if not start.startswith(_V2) or not blank or magic is None:
        raise BundleRefused("What came out of the sandbox is not a version 2 Git bundle.")
    lines = head[len(_V2) :].decode("ascii", errors="replace").split("\n")
    prerequisites = tuple(line[1:41] for line in lines if re.fullmatch(r"-[0-9a-f]{40}( .*)?", line))
    tips = [
        line[:40]
        for line in lines
        if re.fullmatch(rf"[0-9a-f]{{40}} ({SNAPSHOT_REF}|refs/shopfloor/outgoing-[0-9]+)", line)
    ]
    if len(tips) != 1 or len(prerequisites) + 1 != len(lines):
        raise BundleRefused("The bundle has to hold exactly one ref, and only lines that version 2 knows.")
    return BundleHeader(prerequisites, tips[0], int.from_bytes(magic[1], "big"), len(head) + len(blank))


def _refuse_header(header: BundleHeader, *, expected: str, previous: str, max_objects: int) -> None:
    if header.tip != expected:
        raise BundleRefused("The bundle holds another commit than the sandbox announced.", expected=expected)
    if set(header.prerequisites) - {previous}:
        raise BundleRefused("The bundle builds on a commit that the platform doesn't know.", previous=previous)
    if header.objects > max_objects:
        raise BundleRefused(f"The bundle holds {header.objects} objects; at most {max_objects} are taken.")


async def _refuse_commit(git: Git, repository: Path, sha: str, previous: str) -> None:
    """Everything the commit needs is here, and it stands on `previous` alone."""
    output = await git.run(["rev-list", "--parents", "--max-count=1", sha, "--"], repository)
    if output.exit_code != 0 or output.stdout.decode(errors="replace").split() != [sha, previous]:
        raise BundleRefused("The bundle's commit does not stand on the one before it.", expected=sha, previous=previous)
    missing = await git.run(["rev-list", "--objects", "--quiet", sha, "--not", previous, "--"], repository)
    if missing.exit_code != 0:
        raise BundleRefused(f"The bundle leaves objects out: {quote(missing.stderr)}", expected=sha)


async def _commit_uncommitted(own: _OwnGit, head: str, index: Path) -> str:
    """A commit on HEAD with the working tree, made through an index of its own."""
    env = {"GIT_INDEX_FILE": str(index)}
    await own.run("read-tree", head, env=env)
    await own.run("add", "--all", "--", ".", env=env)
    tree = (await own.run("write-tree", env=env)).decode().strip()
    if tree == (await own.run("rev-parse", f"{head}^{{tree}}")).decode().strip():
        return head
    return (await own.run("commit-tree", tree, "-p", head, "-m", "Uncommitted changes", env=_IDENTITY)).decode().strip()


_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Shopfloor"), ("EMAIL", "shopfloor@localhost.invalid"))
}


@dataclass(frozen=True, slots=True)
class _OwnGit:
    """The user's `git` in the user's folder, with the user's configuration."""

    executable: str
    folder: Path

    async def run(self, *arguments: str, env: dict[str, str] | None = None) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                self.executable,
                *arguments,
                cwd=self.folder,
                env=os.environ | {"LC_ALL": "C"} | (env or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as error:
            if not self.folder.is_dir():
                raise RepositoryUnknown(f"There is no folder {self.folder}.") from error
            raise GitMissing("There is no `git` to run on this machine. Install git 2.37 or newer.") from error
        try:
            async with asyncio.timeout(_LOCAL_TIMEOUT_S):
                stdout, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode != 0:
            raise self._explained(arguments, stderr)
        return stdout

    async def bundle(self, sha: str, target: Path) -> None:
        """Write a bundle of `sha`; a bundle needs a ref, so a hidden one names it for that moment."""
        ref = f"refs/shopfloor/outgoing-{os.getpid()}"
        await self.run("update-ref", ref, sha)
        try:
            await self.run("bundle", "create", "--quiet", "--version=2", str(target), ref)
        finally:
            await self.run("update-ref", "-d", ref)

    def _explained(self, arguments: tuple[str, ...], stderr: bytes) -> GitFailed:
        said = quote(stderr)
        if "not a git repository" in said:
            return RepositoryUnknown(f"{self.folder} is not in a Git repository. Run `git init` and commit first.")
        if "Needed a single revision" in said:
            return RepositoryUnknown(f"The repository at {self.folder} has no commit yet. Commit something first.")
        return GitFailed(f"git {arguments[0]} failed in {self.folder}: {said}")
