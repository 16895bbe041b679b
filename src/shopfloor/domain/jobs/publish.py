"""A verified result as a branch on the job's own server, pushed by the platform: no key meets the sandbox."""

from __future__ import annotations

from typing import Any

from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.tree import CredentialsOf, JobTree
from shopfloor.engine.git.command import Git
from shopfloor.engine.git.push import Author, commit_result, push

_AUTHOR = Author("Shopfloor", "shopfloor@localhost.invalid")
_SUBJECT_CHARS = 72


def to_push(job: Job, tree: JobTree, verified: bool | None) -> bool:  # noqa: FBT001 - a verdict, not a switch
    """Whether there is something to push, and a place to push it to."""
    asked = job.push_branch is not None and job.repo_url is not None
    return asked and verified is not False and tree.head != tree.base.sha


async def push_result(
    git: Git, tree: JobTree, job: Job, *, verified: bool | None, credentials_of: CredentialsOf
) -> dict[str, Any] | None:
    """`{branch, commit}`, or `{branch, error}` when the server refused; None when there is nothing to push.

    A result whose checks failed is not pushed. Doing it again pushes the same commit and changes nothing.
    """
    if not to_push(job, tree, verified) or job.repo_url is None or job.push_branch is None:
        return None
    try:
        sha = await commit_result(
            git, tree.results, base=tree.base.sha, head=tree.head, message=_message(job), author=_AUTHOR,
            at=job.created_at,
        )  # fmt: skip
        await push(git, tree.results, sha, job.repo_url, job.push_branch, credentials=await credentials_of(job))
    except ShopfloorError as error:
        if error.retryable:
            raise
        return {"branch": job.push_branch, "error": error.as_dict()}
    return {"branch": job.push_branch, "commit": sha}


def _message(job: Job) -> str:
    subject = " ".join(job.task.split())
    short = subject if len(subject) <= _SUBJECT_CHARS else subject[: _SUBJECT_CHARS - 3] + "..."
    return f"{short}\n\nMade by the agent {job.agent} with {job.model}, job {job.id}.\n"
