"""This room over HTTP: the log, proofs, checkpoints, the public key, an export. Parse, call, shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime
from starlette.responses import StreamingResponse

from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.audit import keys, service
from shopfloor.domain.audit.entry import moment
from shopfloor.domain.audit.errors import AuditEntryNotFound, RestoreUnfounded
from shopfloor.domain.audit.export import export
from shopfloor.domain.audit.schemas import (
    AuditEntryDetail,
    AuditEntryReply,
    CheckpointReply,
    PublicKeyReply,
    RestoreNew,
    Result,
    entry_detail,
    entry_reply,
)
from shopfloor.domain.audit.sequence import Sequencer
from shopfloor.domain.audit.store import Filters
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

_ENTRIES = Keyset("audit", UUID)
_CHECKPOINTS = Keyset("audit-checkpoints", int)

Auditor = Annotated[Principal, Depends(Require("audit.read", whole_organization=True))]
Restorer = Annotated[Principal, Depends(Require("organization.edit", whole_organization=True))]


class AuditState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    audit: Sequencer


def _state(request: Request) -> AuditState:
    return cast("AuditState", request.app.state.shopfloor)


@router.get("", summary="List what was done")
async def list_audit(  # noqa: PLR0917 - each is one query parameter
    request: Request,
    principal: Auditor,
    actor: Annotated[UUID | None, Query(description="Who did it, or on whose behalf.")] = None,
    action: Annotated[str | None, Query(max_length=100, description="Its beginning: `job.`")] = None,
    target: Annotated[str | None, Query(max_length=500, description="Id of what it was done to.")] = None,
    project: Annotated[UUID | None, Query(description="Its id.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="At this time or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this time.")] = None,
    request_id: Annotated[str | None, Query(max_length=128)] = None,
    result: Annotated[Result | None, Query()] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[AuditEntryReply]:
    """Changes, refusals and sensitive reads, newest first. Asking is itself recorded."""
    wanted = Filters(actor, action, target, project, _moment(since), _moment(until), request_id, result)
    about = {name: getattr(wanted, name) for name in Filters.__slots__}
    after = _ENTRIES.read(cursor, filters=about)
    async with begin(_state(request).store, principal) as tx:
        rows = await service.list_entries(tx, wanted, before=cast("UUID", after[0]) if after else None, limit=limit + 1)
    items, following = _ENTRIES.page(rows, limit, keys=lambda row: (row.id,), filters=about)
    return Page(items=[entry_reply(row) for row in items], next_cursor=following)


@router.get("/checkpoints", summary="List checkpoints")
async def list_checkpoints(
    request: Request, principal: Auditor, limit: Limit = 50, cursor: CursorText = None
) -> Page[CheckpointReply]:
    """The signed sizes and roots of the tree, smallest first."""
    after = _CHECKPOINTS.read(cursor)
    async with begin(_state(request).store, principal) as tx:
        size = cast("int", after[0]) if after else 0
        rows = await service.list_checkpoints(tx, after=size, limit=limit + 1)
    items, following = _CHECKPOINTS.page(rows, limit, keys=lambda row: (row.size,))
    return Page(items=[CheckpointReply.model_validate(row) for row in items], next_cursor=following)


@router.get("/public-key", responses=problems(AuditEntryNotFound), summary="The key that signs checkpoints")
async def get_public_key(request: Request, principal: Auditor) -> PublicKeyReply:
    """Keep it where the database's operator can't change it: whoever verifies brings it along."""
    state = _state(request)
    await state.audit.catch_up()
    async with begin(state.store, principal) as tx:
        key = await keys.public_key(tx)
        await service.newest_checkpoint(tx)
    assert key is not None  # the first checkpoint made it
    return PublicKeyReply(origin=key.name, key=str(key))


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}}, "description": "JSON lines for `shopfloor audit verify`."}},
    summary="The whole log with its checkpoints",
)
async def get_export(request: Request, principal: Auditor) -> StreamingResponse:
    """Every entry and checkpoint up to now, in order. The export is itself recorded, and its record is in it."""
    state = _state(request)
    async with begin(state.store, principal) as tx:
        await tx.record_read("audit.exported", "audit", "log")
    await state.audit.catch_up()
    lines = export(state.store, principal)
    first = await anext(lines, b"")  # what can't be read is known before any header is sent
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(_chained(first, lines), media_type="application/jsonl", headers=headers)


@router.post("/restores", status_code=201, responses=problems(RestoreUnfounded), summary="Note a restore")
async def post_restore(request: Request, new: RestoreNew, principal: Restorer) -> CheckpointReply:
    """Say that the database was put back on purpose; the answer is the checkpoint that covers this statement."""
    state = _state(request)
    await state.audit.catch_up()
    async with begin(state.store, principal) as tx:
        await service.note_restore(tx, size=new.size, reason=new.reason)
    await state.audit.catch_up()
    async with begin(state.store, principal) as tx:
        return CheckpointReply.model_validate(await service.newest_checkpoint(tx))


@router.get("/{entry_id}", responses=problems(AuditEntryNotFound), summary="One entry, with its proof")
async def get_audit_entry(request: Request, entry_id: UUID, principal: Auditor) -> AuditEntryDetail:
    """An entry and the way from its leaf to a signed root. Asking is itself recorded."""
    state = _state(request)
    await state.audit.catch_up()
    async with begin(state.store, principal) as tx:
        entry, proof = await service.find_entry(tx, entry_id)
    return entry_detail(entry, proof)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _moment(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
