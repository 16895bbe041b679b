"""Implements jobs/gate.py::Gate: a job's question becomes a row, and the row's answer the job's."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.approvals import store
from shopfloor.domain.approvals.models import Approval, ApprovalAsked
from shopfloor.domain.jobs.events import emit
from shopfloor.domain.jobs.gate import Answer, Asked
from shopfloor.domain.jobs.lease import Lease
from shopfloor.infra.tx import Tx


class ApprovalGate:
    """One a process; it keeps nothing itself."""

    async def ask(self, tx: Tx, lease: Lease, asked: Asked) -> Answer | None:
        """See jobs/gate.py::Gate.ask."""
        known = await store.asked_before(tx, lease.job_id, asked)
        if known is not None:
            return _answer(known)
        digest = hashlib.sha256(json.dumps([asked.tool, asked.arguments], sort_keys=True).encode()).digest()
        if asked.kind == "tool" and await store.remembered(tx, lease.job_id, digest):
            return Answer(allowed=True)
        approval_id = new_id()
        expires_at = tx.clock.now() + timedelta(seconds=lease.job.rules().expires_after_s)
        await store.add(tx, approval_id, lease, asked, digest, expires_at)
        told: dict[str, Any] = {
            "approval": str(approval_id), "kind": asked.kind, "tool": asked.tool, "summary": asked.summary(),
            "expires_at": expires_at.isoformat(),
        }  # fmt: skip
        await emit(tx, lease.job_id, ("approval.asked", told))
        await tx.publish(ApprovalAsked(tx.organization_id, approval_id))
        return None

    async def pending(self, tx: Tx, job_id: UUID) -> bool:
        """See jobs/gate.py::Gate.pending."""
        return await store.lock_pending(tx, job_id)


def _answer(approval: Approval) -> Answer | None:
    match approval.state:
        case "pending":
            return None
        case "approved":
            return Answer(allowed=True)
        case "expired":
            return Answer(allowed=False, why="nobody answered in time")
        case _:
            by = f"{approval.decided_by_name} said no" if approval.decided_by_name else "it was withdrawn"
            return Answer(allowed=False, why=f"{by}: {approval.reason}" if approval.reason else by)
