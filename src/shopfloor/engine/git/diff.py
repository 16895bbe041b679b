"""What changed between two commits, from a bare repository only: no file of the tree can make Git run anything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shopfloor.engine.git.command import Bounds, Git, GitOutput
from shopfloor.engine.git.errors import GitFailed, quote
from shopfloor.engine.git.refs import SHA

Status = Literal["added", "modified", "deleted", "renamed", "type-changed"]
_STATUS: dict[str, Status] = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "T": "type-changed"}
# -l: pairs looked at for renames; beyond it a rename is told as one file deleted and one added.
_OPTIONS = ["-r", "--find-renames", "-l400", "--no-ext-diff", "--no-textconv", "--no-color", "--no-commit-id"]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file of a diff."""

    path: str  # bytes that are not UTF-8 as \\xNN
    status: Status
    old_path: str | None = None  # of a renamed file
    additions: int = 0  # lines; 0 for a binary file
    deletions: int = 0
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed. `patch` is for people to read; the one to apply is `patch()`'s."""

    base: str
    head: str
    files: tuple[FileChange, ...]
    patch: bytes
    truncated: bool = False  # `patch` or `files` was cut at a limit: of size, number or memory

    @property
    def empty(self) -> bool:
        """Nothing changed."""
        return not self.files

    @property
    def additions(self) -> int:
        """Lines added in all."""
        return sum(file.additions for file in self.files)

    @property
    def deletions(self) -> int:
        """Lines deleted in all."""
        return sum(file.deletions for file in self.files)


async def diff(
    git: Git, repository: Path, base: str, head: str, *, max_patch_bytes: int = 1_048_576, max_files: int = 5_000
) -> Diff:
    """The changes from `base` to `head`, both full commit ids. Raises: GitFailed, GitTimeout."""
    _refuse_names(base, head)
    listing = await _run(git, repository, ["--raw", "--numstat", "-z", "--abbrev=40", base, head], 32 * 1024**2)
    if listing.exit_code != 0:
        raise GitFailed(f"The diff could not be made: {quote(listing.stderr)}")
    shown = await _run(git, repository, ["--patch", base, head], max_patch_bytes)
    files = list(_parse(listing.stdout))
    # The patch alone may fail, on a file that does not fit into the memory allowed: the list is worth having.
    truncated = listing.truncated or shown.truncated or shown.exit_code != 0 or len(files) > max_files
    return Diff(base, head, tuple(files[:max_files]), shown.stdout, truncated)


async def patch(git: Git, repository: Path, base: str, head: str) -> AsyncGenerator[bytes, None]:
    """The whole change for `git apply`, binary files included, in pieces. Raises: GitFailed, GitTimeout."""
    _refuse_names(base, head)
    arguments = ["diff-tree", *_OPTIONS, "--patch", "--binary", "--full-index", base, head, "--"]
    pieces = git.stream(arguments, repository, bounds=Bounds(max_memory_bytes=git.settings.max_memory_bytes))
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _run(git: Git, repository: Path, options: list[str], limit: int) -> GitOutput:
    bounds = Bounds(max_output_bytes=limit, max_memory_bytes=git.settings.max_memory_bytes)
    return await git.run(["diff-tree", *_OPTIONS, *options, "--"], repository, bounds=bounds)


def _parse(listing: bytes) -> Iterator[FileChange]:
    """Raw records, then numstat records, both in the order of the files. Source: git-diff-tree(1), "RAW OUTPUT"."""
    fields = listing.split(b"\0")[:-1]
    changes: list[FileChange] = []
    position = 0
    while position < len(fields) and fields[position].startswith(b":"):
        letter = fields[position].rsplit(b" ", 1)[-1][:1].decode()
        renamed = letter == "R"
        if position + 1 + renamed >= len(fields):
            break  # cut at the limit
        paths = [_text(name) for name in fields[position + 1 : position + 2 + renamed]]
        old_path = paths[0] if renamed else None
        changes.append(FileChange(paths[-1], _STATUS.get(letter, "modified"), old_path))
        position += 2 + renamed
    counts = _counts(fields[position:])
    for change in changes:
        added, deleted = next(counts, (0, 0))
        yield replace(change, additions=max(added, 0), deletions=max(deleted, 0), binary=added < 0)


def _counts(fields: list[bytes]) -> Iterator[tuple[int, int]]:
    """Lines added and deleted of each file; -1 for a binary one."""
    position = 0
    while position < len(fields):
        added, deleted, path = (*fields[position].split(b"\t", 2), b"", b"")[:3]
        position += 1 if path else 3  # a rename has an empty path here, then both names
        yield (-1, -1) if added == b"-" else (int(added or 0), int(deleted or 0))


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _refuse_names(*names: str) -> None:
    for name in names:
        if not SHA.fullmatch(name):
            raise GitFailed(f"A diff is made between full commit ids, not {name[:80]!r}.")
