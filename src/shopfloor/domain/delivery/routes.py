"""What the routes of environments, releases and sprints have in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

from fastapi import Depends, Query, Request

from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require, access_state
from shopfloor.domain.delivery import records
from shopfloor.domain.delivery.models import Record
from shopfloor.domain.delivery.store import Noun
from shopfloor.domain.jobs.schemas import JobReply, job_reply
from shopfloor.infra.tx import begin
from shopfloor.infra.web.etags import etag_of, require_match
from shopfloor.infra.web.json_body import Body
from shopfloor.infra.web.pages import Keyset, Page

R = TypeVar("R", bound=Record)

Reader = Annotated[Principal, Depends(Require("delivery.read"))]
Editor = Annotated[Principal, Depends(Require("delivery.edit"))]
OfProject = Annotated[str | None, Query(max_length=64, description="Only of this project: id or slug.")]


async def page_of(
    request: Request, principal: Principal, noun: Noun[R], *, project: str | None, limit: int, cursor: str | None
) -> tuple[list[R], str | None]:
    """Some records, and the cursor of the next page."""
    keyset, filters = Keyset(f"{noun.one}s", UUID), {"project": project}
    keys = keyset.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        rows = await records.list_records(tx, noun, project=project, after=_id(keys), limit=limit + 1)
    return keyset.page(rows, limit, keys=lambda row: (row.id,), filters=filters)


async def one_of(request: Request, principal: Principal, noun: Noun[R], record_id: UUID) -> R:
    """One record."""
    async with begin(access_state(request).store, principal) as tx:
        return await records.find_record(tx, noun, record_id)


async def made(request: Request, principal: Principal, noun: Noun[R], new: Any) -> R:
    """A new record of the project that the body names."""
    fields = {name: getattr(new, name) for name in ("name", *noun.own)}
    async with begin(access_state(request).store, principal) as tx:
        return await records.create_record(tx, noun, project=new.project, fields=fields)


async def changed(request: Request, principal: Principal, noun: Noun[R], record_id: UUID, change: Body) -> R:
    """The record with what the body names changed."""
    fields = {name: getattr(change, name) for name in change.model_fields_set}
    async with begin(access_state(request).store, principal) as tx:
        found = await records.find_record(tx, noun, record_id)
        require_match(request, etag_of(found.version), optional=True)
        return await records.change_record(tx, noun, found, fields)


async def removed(request: Request, principal: Principal, noun: Noun[R], record_id: UUID) -> None:
    """The record is gone."""
    async with begin(access_state(request).store, principal) as tx:
        await records.remove_record(tx, noun, await records.find_record(tx, noun, record_id))


async def tied(request: Request, principal: Principal, noun: Noun[R], record_id: UUID, job_id: UUID) -> None:
    """The job belongs to the record."""
    async with begin(access_state(request).store, principal) as tx:
        await records.tie_job(tx, noun, record_id, job_id)


async def untied(request: Request, principal: Principal, noun: Noun[R], record_id: UUID, job_id: UUID) -> None:
    """The job belongs to the record no more."""
    async with begin(access_state(request).store, principal) as tx:
        await records.untie_job(tx, noun, record_id, job_id)


async def jobs_page(
    request: Request, principal: Principal, noun: Noun[R], record_id: UUID, *, limit: int, cursor: str | None
) -> Page[JobReply]:
    """The jobs of a record, newest first."""
    keyset, filters = Keyset(f"{noun.one} jobs", UUID), {"record": record_id}
    keys = keyset.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        rows = await records.jobs_of(tx, noun, record_id, before=_id(keys), limit=limit + 1)
    items, following = keyset.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[job_reply(row) for row in items], next_cursor=following)


def _id(keys: tuple[Any, ...] | None) -> UUID | None:
    return cast("UUID", keys[0]) if keys else None
