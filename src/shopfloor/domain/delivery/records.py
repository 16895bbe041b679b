"""Environments, releases and sprints: make, find, change, remove, and tie jobs to them."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

import psycopg

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.access.projects import find_project
from shopfloor.domain.delivery import store
from shopfloor.domain.delivery.errors import JobOfAnotherProject, RecordNameTaken, RecordUnknown
from shopfloor.domain.delivery.models import Record
from shopfloor.domain.delivery.store import Noun
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.models import Job
from shopfloor.infra.tx import Tx

R = TypeVar("R", bound=Record)


async def list_records(tx: Tx, noun: Noun[R], *, project: str | None, after: UUID | None, limit: int) -> list[R]:
    """Oldest first; of one project, or of all that the principal may see. Raises: ProjectUnknown."""
    places = tx.projects_where("delivery.read")
    if project is not None:
        found = await find_project(tx, project)
        tx.require("delivery.read", found.id)
        places = [found.id]
    return await store.records(tx, noun, project_ids=places, after=after, limit=limit)


async def find_record(tx: Tx, noun: Noun[R], record_id: UUID) -> R:
    """Raises: RecordUnknown."""
    found = await store.record(tx, noun, record_id)
    if found is None or not tx.principal.allows("delivery.read", found.project_id):
        raise RecordUnknown(f"There is no {noun.one} {record_id}, or none that you may see.")
    return found


async def create_record(tx: Tx, noun: Noun[R], *, project: str, fields: dict[str, Any]) -> R:
    """A new one of a project. Raises: ProjectUnknown, RecordNameTaken, InvalidInput, PermissionDenied."""
    place = await find_project(tx, project)
    tx.require("delivery.edit", place.id)
    _check_days(fields)
    record_id = new_id()
    if not await store.add(tx, noun, record_id, place.id, fields):
        raise _taken(noun, fields["name"])
    await tx.record(f"{noun.one}.created", noun.one, record_id, after=_plain(fields), project_id=place.id)
    return await find_record(tx, noun, record_id)


async def change_record(tx: Tx, noun: Noun[R], record: R, fields: dict[str, Any]) -> R:
    """It with these fields changed. Raises: RecordNameTaken, InvalidInput, PermissionDenied, PreconditionFailed."""
    tx.require("delivery.edit", record.project_id)
    before = {name: getattr(record, name) for name in fields}
    _check_days({name: getattr(record, name) for name in noun.own} | fields)
    try:
        if fields and not await store.change(tx, noun, record, fields):
            raise PreconditionFailed("Somebody changed it at the same moment. Read it again, then repeat this.")
    except psycopg.errors.UniqueViolation as error:
        raise _taken(noun, fields["name"]) from error
    await tx.record(
        f"{noun.one}.changed", noun.one, record.id, before=_plain(before), after=_plain(fields),
        project_id=record.project_id,
    )  # fmt: skip
    return await find_record(tx, noun, record.id)


async def remove_record(tx: Tx, noun: Noun[R], record: R) -> None:
    """Its jobs stay, tied to it no more. Raises: PermissionDenied."""
    tx.require("delivery.edit", record.project_id)
    await store.delete(tx, noun, record.id)
    before = {"name": record.name}
    await tx.record(f"{noun.one}.removed", noun.one, record.id, before=before, project_id=record.project_id)


async def tie_job(tx: Tx, noun: Noun[R], record_id: UUID, job_id: UUID) -> None:
    """The job belongs to the record from now on; twice changes nothing.

    Raises: RecordUnknown, JobNotFound, JobOfAnotherProject, PermissionDenied.
    """
    record = await find_record(tx, noun, record_id)
    tx.require("delivery.edit", record.project_id)
    job = await jobs.readable_job(tx, job_id)
    if job.project_id != record.project_id:
        raise JobOfAnotherProject(f"Job {job_id} and this {noun.one} are of two projects. Name a job of its own.")
    if await store.tie(tx, noun, record, job_id):
        after = {"job_id": str(job_id)}
        await tx.record(f"{noun.one}.job-tied", noun.one, record.id, after=after, project_id=record.project_id)


async def untie_job(tx: Tx, noun: Noun[R], record_id: UUID, job_id: UUID) -> None:
    """It belongs to it no more; twice changes nothing. Raises: RecordUnknown, JobNotFound, PermissionDenied."""
    record = await find_record(tx, noun, record_id)
    tx.require("delivery.edit", record.project_id)
    await jobs.readable_job(tx, job_id)
    if await store.untie(tx, noun, record.id, job_id):
        before = {"job_id": str(job_id)}
        await tx.record(f"{noun.one}.job-untied", noun.one, record.id, before=before, project_id=record.project_id)


async def jobs_of(tx: Tx, noun: Noun[R], record_id: UUID, *, before: UUID | None, limit: int) -> list[Job]:
    """Its jobs, newest first. Raises: RecordUnknown, PermissionDenied."""
    record = await find_record(tx, noun, record_id)
    tx.require("job.read", record.project_id)
    return await jobs.jobs_by_ids(tx, await store.tied_jobs(tx, noun, record.id, before=before, limit=limit))


def _check_days(fields: dict[str, Any]) -> None:
    if "starts" in fields and fields["starts"] > fields["ends"]:
        raise InvalidInput("The sprint ends before it starts: name a last day that isn't before the first.")


def _taken(noun: Noun[R], name: str) -> RecordNameTaken:
    return RecordNameTaken(f"The project has a {noun.one} {name!r} already. Choose another name, or change that one.")


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """As the record of changes has it: JSON."""
    return {name: value if isinstance(value, str | bool) else str(value) for name, value in fields.items()}
