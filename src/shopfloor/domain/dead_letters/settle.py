"""What people decide about a letter: again, the same or changed; or never. Done once, and on record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import parse_id
from shopfloor.base.principal import missing
from shopfloor.domain.access.projects import find_project
from shopfloor.domain.dead_letters import store
from shopfloor.domain.dead_letters.errors import DeadLetterSettled, DeadLetterUnknown
from shopfloor.domain.dead_letters.models import DeadLetter, LetterState
from shopfloor.domain.jobs import control
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.submit import Desk
from shopfloor.infra.redaction import MASK
from shopfloor.infra.tx import Tx

READ, EDIT = "deadletter.read", "deadletter.edit"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters. What is None is not looked at."""

    kind: str | None = None
    task: str | None = None
    project: str | None = None  # slug or id


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different: of a job model and limits, of a task some arguments."""

    job: dict[str, Any] = field(default_factory=dict[str, Any])
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


async def list_letters(
    tx: Tx, filters: Filters, *, state: LetterState | None, before: UUID | None, limit: int, permission: str = READ
) -> list[DeadLetter]:
    """Newest first. Raises: ProjectUnknown, PermissionDenied."""
    project_id = None
    if filters.project is not None:
        project_id = (await find_project(tx, filters.project)).id
        tx.require(permission, project_id)
    given = {"kind": filters.kind, "task": filters.task, "project_id": project_id}
    return await store.letters(tx, state=state, filters=given, permission=permission, before=before, limit=limit)


async def find_letter(tx: Tx, letter_id: UUID, *, lock: bool = False) -> DeadLetter:
    """Raises: DeadLetterUnknown."""
    found = await store.letter(tx, letter_id, lock=lock)
    if found is None or not _may(tx, READ, found):
        raise DeadLetterUnknown(f"There is no dead letter {letter_id}, or none that you may see.")
    return found


async def requeue(tx: Tx, desk: Desk, letter_id: UUID, changes: Changes) -> tuple[DeadLetter, Job | None]:
    """Try it again; the settled letter, and the new job if it was a job.

    A dead job stays dead: a fork of it goes on from the last finished turn, and pays nothing again. A task goes back
    on the queue with all its attempts. Raises: DeadLetterUnknown, DeadLetterSettled, PermissionDenied, InvalidInput.
    """
    letter = await _open(tx, letter_id)
    job = await _job_again(tx, desk, letter, changes) if letter.kind == "job" else None
    requeued_as = str(job.id) if job is not None else str(await _task_again(tx, letter, changes))
    await store.settle(tx, letter, "requeued", requeued_as=requeued_as, reason=None)
    after = {"requeued_as": requeued_as, "changed": sorted({*changes.job, *changes.arguments})}
    await tx.record("deadletter.requeued", "dead-letter", letter_id, after=after, project_id=letter.project_id)
    return await find_letter(tx, letter_id), job


async def discard(tx: Tx, letter_id: UUID, reason: str) -> DeadLetter:
    """Never again, and why. Raises: DeadLetterUnknown, DeadLetterSettled, PermissionDenied."""
    letter = await _open(tx, letter_id)
    await store.settle(tx, letter, "discarded", requeued_as=None, reason=reason)
    await tx.record(
        "deadletter.discarded", "dead-letter", letter_id, after={"reason": reason}, project_id=letter.project_id
    )
    return await find_letter(tx, letter_id)


async def _open(tx: Tx, letter_id: UUID) -> DeadLetter:
    letter = await find_letter(tx, letter_id, lock=True)
    if not _may(tx, EDIT, letter):
        raise missing(tx.principal, EDIT, letter.project_id)
    if letter.state != "open":
        became = f" as {letter.requeued_as}" if letter.requeued_as else ""
        raise DeadLetterSettled(
            f"The letter was {letter.state}{became} already, and that is done once. Look at it with "
            f"`shopfloor dead-letter view {letter_id}`.",
            state=letter.state, requeued_as=letter.requeued_as,
        )  # fmt: skip
    return letter


def _may(tx: Tx, permission: str, letter: DeadLetter) -> bool:
    """Letters of no project are the whole organization's: a key that is limited to projects sees none."""
    if letter.project_id is None:
        return tx.projects_where(permission) is None
    return tx.principal.allows(permission, letter.project_id)


async def _job_again(tx: Tx, desk: Desk, letter: DeadLetter, changes: Changes) -> Job:
    assert letter.job_id is not None
    if changes.arguments:
        raise InvalidInput("This letter is a job: it can be changed in `model` and `limits`, not in `arguments`.")
    before_turn = await jobs.last_turn(tx, letter.job_id) + 1
    return await control.fork(tx, desk, letter.job_id, before_turn=before_turn, changes=changes.job)


async def _task_again(tx: Tx, letter: DeadLetter, changes: Changes) -> int:
    if changes.job:
        raise InvalidInput("This letter is a task: it can be changed in `arguments`, not in `model` or `limits`.")
    given = {**letter.payload, **_checked(letter, changes.arguments)}
    if letter.struck_out and MASK in str(given):
        raise InvalidInput(
            "An argument of this task held a secret, which was struck out. Requeue it with that one given in "
            "`arguments`, or discard the letter."
        )
    return await tx.defer(letter.task, queue=letter.queue, **given)


def _checked(letter: DeadLetter, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the task was called with says what it can be called with: the same names, the same kinds of values."""
    for name, value in arguments.items():
        if name not in letter.payload:
            names = ", ".join(sorted(letter.payload)) or "none"
            raise InvalidInput(f"The task {letter.task} takes no argument {name!r}. It has: {names}.")
        if name == "organization_id":
            raise InvalidInput("A task stays in its organization: organization_id can't be changed.")
        was = letter.payload[name]
        if was is not None and type(value) is not type(was):
            raise InvalidInput(
                f"The argument {name!r} is a {type(was).__name__} in JSON's sense, not a {type(value).__name__}."
            )
        if isinstance(was, str) and parse_id(was) is not None and parse_id(value) is None:
            raise InvalidInput(f"The argument {name!r} is an id, and {value[:100]!r} is none.")
    return arguments
