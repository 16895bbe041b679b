"""What somebody who may nothing any more has left running: cancelled, whoever of their keys submitted it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog

from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.access.events import MemberDisabled
from shopfloor.domain.jobs import control
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin, perform

TASK = "jobs.cancel_of_member"
_BATCH = 50

log = structlog.get_logger(__name__)


def arguments_of(event: MemberDisabled) -> dict[str, Any]:
    """What the task is called with."""
    return {"organization_id": str(event.organization_id), "user_id": str(event.user_id)}


async def cancel_jobs_of(store: Store, notifier: Notifier, organization_id: UUID, user_id: UUID) -> int:
    """The queue's task: cancel every open job of a disabled member; how many. Doing it again changes nothing.

    Somebody who has been enabled again meanwhile keeps theirs.
    """
    principal = Principal("system", NIL, organization_id, frozenset({"*"}), name="system")
    cancelled = 0
    while job_ids := await perform(store, principal, lambda tx: _open_jobs(tx, user_id)):
        for job_id in job_ids:
            async with begin(store, principal) as tx:
                await control.cancel_open(tx, job_id)
            notifier.wake(f"cancel:{job_id}")
            notifier.wake(f"job:{job_id}")
            cancelled += 1
    if cancelled:
        log.info("jobs.cancelled_of_member", user_id=str(user_id), jobs=cancelled)
    return cancelled


async def _open_jobs(tx: Tx, user_id: UUID) -> list[UUID]:
    """Those that nobody has asked to cancel yet, while the person is disabled."""
    rows = await tx.all(
        "select j.id from jobs j where j.organization_id = %(organization)s and j.created_by = any(array("
        "select u.id from users u where u.id = %(user)s and u.disabled_at is not null union all "
        "select k.id from api_keys k join users u on u.id = k.user_id "
        "where k.organization_id = %(organization)s and k.user_id = %(user)s and u.disabled_at is not null)) "
        "and j.state in ('queued', 'running', 'waiting') and j.cancel_requested_at is null limit %(limit)s",
        {"organization": tx.organization_id, "user": user_id, "limit": _BATCH},
    )
    return [row["id"] for row in rows]
