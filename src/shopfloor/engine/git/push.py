"""The platform hands a result back: one commit of its own making, pushed to a branch that nobody moved meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shopfloor.engine.git.command import Bounds, Git, GitOutput
from shopfloor.engine.git.errors import GitFailed, PushRejected, RefUnknown, explain, quote
from shopfloor.engine.git.refs import SHA, check_branch_name, find_ref
from shopfloor.engine.git.urls import Credentials, RepositoryUrl, check_repository_url
from shopfloor.infra.outbound import Resolver


@dataclass(frozen=True, slots=True)
class Author:
    """Who a commit says that it is by."""

    name: str
    email: str


async def commit_result(
    git: Git, repository: Path, *, base: str, head: str, message: str, author: Author, at: datetime
) -> str:
    """One commit on `base` with the tree of `head`: names, date and text are the platform's, not the sandbox's.

    Raises: GitFailed.
    """
    name, email = (_plain(text) for text in (author.name, author.email))
    env = {f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")}
    env |= {f"GIT_{who}_EMAIL": email for who in ("AUTHOR", "COMMITTER")}
    env |= {f"GIT_{who}_DATE": f"@{int(at.timestamp())} +0000" for who in ("AUTHOR", "COMMITTER")}
    text = message.replace("\0", "").encode(errors="replace")
    arguments = ["commit-tree", f"{head}^{{tree}}", "-p", base, "-F", "-"]
    sha = (await git.check(arguments, repository, env=env, stdin=text)).decode().strip()
    await git.check(["update-ref", f"refs/shopfloor/results/{sha}", sha], repository)
    return sha


async def push(
    git: Git,
    repository: Path,
    sha: str,
    url: str,
    branch: str,
    *,
    credentials: Credentials | None = None,
    expected: str | None = None,
    resolver: Resolver | None = None,
) -> None:
    """Make `branch` on the server `sha`, if it is `expected` there now (None: if it does not exist yet).

    A second call with the same arguments changes nothing and succeeds. Raises: PushRejected, RefNameRefused,
    CredentialsRefused, RepositoryUnknown, RemoteUnavailable, UrlRefused, GitTimeout.
    """
    check_branch_name(branch)
    if not SHA.fullmatch(sha) or (expected is not None and not SHA.fullmatch(expected)):
        raise GitFailed("A push names full commit ids.")
    await git.require_version()
    target = await check_repository_url(url, git.settings.outbound, resolver=resolver)
    ref = f"refs/heads/{branch}"
    output = await git.run(
        ["push", "--quiet", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed",
         f"--force-with-lease={ref}:{expected or ''}", "--", target.url, f"{sha}:{ref}"],
        repository,
        config=target.config,
        env=target.environment(credentials),
        protocols=target.checked.scheme,
        bounds=Bounds(timeout_s=git.settings.transfer_timeout_s),
    )  # fmt: skip
    if output.exit_code != 0 and await _stands(git, target, ref, credentials) != sha:
        raise _rejected(output, target, branch)


async def _stands(git: Git, target: RepositoryUrl, ref: str, credentials: Credentials | None) -> str | None:
    try:
        return (await find_ref(git, target, ref, credentials)).sha
    except RefUnknown:
        return None


def _rejected(output: GitOutput, target: RepositoryUrl, branch: str) -> GitFailed:
    lines = [line for line in output.stdout.splitlines() if line.startswith(b"!")]
    if not lines:
        return explain(output.stderr, target.url)
    if b"(stale info)" in lines[0]:
        return PushRejected(
            f"The branch {branch} of {target.url} exists already or moved meanwhile. Nothing was pushed: choose "
            "another branch or look at what is there.",
            branch=branch,
        )
    reason = quote(lines[0].rpartition(b"\t")[2])
    return PushRejected(
        f"{target.url} did not take the branch {branch}: {reason} {quote(output.stderr)}", branch=branch
    )


def _plain(text: str) -> str:
    """Without what would end a line of a commit; Git strips <, > and newlines too, but refuses an empty name."""
    return "".join(char for char in text if char.isprintable() and char not in "<>").strip() or "Shopfloor"
