"""What can go wrong between the platform and a repository, in terms that a person can act on."""

from __future__ import annotations

import re
from typing import ClassVar

from shopfloor.base.errors import ShopfloorError


class GitFailed(ShopfloorError):
    """Git ended with an error that none of the narrower ones describes."""

    title: ClassVar[str] = "Git failed"


class GitMissing(GitFailed):
    """There is no usable `git` on this machine."""

    status: ClassVar[int] = 503
    title: ClassVar[str] = "Git is not installed"


class GitTimeout(GitFailed):
    """Git was killed at its time limit."""

    status: ClassVar[int] = 504
    title: ClassVar[str] = "Git took too long"
    retryable: ClassVar[bool] = True


class GitDiskFull(GitFailed):
    """The platform's own disk has no room for the repository."""

    status: ClassVar[int] = 507
    title: ClassVar[str] = "No room for the repository"
    retryable: ClassVar[bool] = True


class RemoteUnavailable(GitFailed):
    """The Git server can't be reached, or broke off."""

    status: ClassVar[int] = 503
    title: ClassVar[str] = "The Git server does not answer"
    retryable: ClassVar[bool] = True


class RepositoryUnknown(GitFailed):
    """There is no repository at this URL, or not for these credentials."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "No such repository"


class RepositoryRefused(GitFailed):
    """The repository holds objects that fail Git's own checks, or a format that is not supported."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The repository's content is not acceptable"


class RepositoryTooLarge(GitFailed):
    """The repository passes the size limit of this installation; nothing of it was kept."""

    status: ClassVar[int] = 413
    title: ClassVar[str] = "The repository is too large"


class CredentialsRefused(GitFailed):
    """The server wants credentials, or other ones."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The Git server refuses these credentials"


class RefUnknown(GitFailed):
    """The repository has no such branch, tag or commit."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "No such branch, tag or commit"


class RefNameRefused(GitFailed):
    """This is not a name that Git allows, or not one that the platform writes to."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "Not a valid branch name"


class BundleRefused(GitFailed):
    """What came out of a sandbox is not the bundle that was asked for."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The bundle is not acceptable"


class PushRejected(GitFailed):
    """The server did not take the branch: it moved meanwhile, or it is protected."""

    status: ClassVar[int] = 409
    title: ClassVar[str] = "The branch was not taken"


class SnapshotFailed(GitFailed):
    """Git inside the workspace could not do it: its disk is full, or `.git` was damaged by what ran there."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The workspace could not be saved"


class WorkspaceFull(SnapshotFailed):
    """There is no room left in the workspace for what Git has to write there."""

    title: ClassVar[str] = "The workspace's disk is full"


_CREDENTIALS = "Set a token that may read (and for results: write) for its host in SHOPFLOOR_REPOSITORIES__CREDENTIALS."
_RULES: tuple[tuple[str, type[GitFailed], str], ...] = (
    (
        r"Authentication failed|could not read (Username|Password)|returned error: 40[13]",
        CredentialsRefused,
        f"The server refuses access to {{name}}. {_CREDENTIALS}",
    ),
    (
        r"redirect|returned error: 30\d",
        RepositoryUnknown,
        "{name} redirects elsewhere, and redirects are not followed. Give the address it moved to.",
    ),
    (
        r"repository '.*' not found|returned error: 404|not valid: is this a git repository",
        RepositoryUnknown,
        f"There is no repository at {{name}}, or it is private. Check the URL. {_CREDENTIALS}",
    ),
    (
        r"find remote ref|not our ref|no such remote ref",
        RefUnknown,
        "{name} no longer has this branch, tag or commit.",
    ),
    (
        r"File too large|signal 25|exceeds maximum allowed size|pack exceeds",
        RepositoryTooLarge,
        "{name} is larger than this installation allows. Raise the limit in the settings or use a smaller repository.",
    ),
    (r"No space left|[Qq]uota exceeded", GitDiskFull, "The platform's disk has no room for {name}. Free space there."),
    (
        r"fsck error|error in object|invalid object|mismatched algorithms|unknown object format",
        RepositoryRefused,
        "{name} holds objects that fail Git's own checks or use a format that is not supported: {said}",
    ),
    (
        (
            r"resolve host|[Ff]ailed to connect|[Cc]onnection|timed out|too slow|[Tt]imeout|returned error: (5\d\d|429)"
            r"|early EOF|hung up|unexpected disconnect|RPC failed|SSL|certificate"
        ),
        RemoteUnavailable,
        "The server of {name} can't be reached or broke off: {said}",
    ),
)

# Git doesn't always say why: without room for a ref's lock it says only that it couldn't write it.
_FULL = re.compile(r"No space left|[Qq]uota exceeded|Out of diskspace")
_NOT_WRITTEN = re.compile(rf"{_FULL.pattern}|(unable to|couldn't|could not|cannot|failed to) (write|create|append)")


def explain(stderr: bytes, name: str) -> GitFailed:
    """The narrow error for what Git wrote about `name`, a URL or folder that people may see."""
    said = quote(stderr)
    for pattern, error, text in _RULES:
        if re.search(pattern, said):
            return error(text.format(name=name, said=said), repository=name)
    return GitFailed(f"Git failed on {name}: {said}", repository=name)


def local_failure(command: str, stderr: bytes) -> GitFailed:
    """Why a command on a repository of ours failed: what could not be written goes again once there is room."""
    said = quote(stderr)
    if _NOT_WRITTEN.search(said):
        text = f"The platform's disk took no more from git {command}: {said} Free space there; it is tried again."
        return GitDiskFull(text, command=command)
    return GitFailed(f"git {command} failed: {said}", command=command)


def bundle_refused(stderr: bytes) -> GitFailed:
    """Why a sandbox's bundle was not taken: for what is in it, unless it is our own disk that is full."""
    said = quote(stderr)
    if _FULL.search(said):
        return GitDiskFull(f"The platform's disk has no room for the sandbox's result: {said} Free space there.")
    return BundleRefused(f"The sandbox's bundle fails Git's checks: {said}")


def quote(stderr: bytes, limit: int = 600) -> str:
    """The end of what Git wrote, on one line, without control characters: part of it comes from the other side."""
    text = re.sub(r"[^\S ]+", " ", stderr.decode(errors="replace"))
    return "".join(char for char in text if char.isprintable()).strip()[-limit:] or "it gave no reason"
