"""More money for a while: a raise on top of a budget's limit, with its reason and its end."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.domain.budgets import store_budgets as store
from shopfloor.domain.budgets.alerts import look_again
from shopfloor.domain.budgets.change import WAKE, find_budget
from shopfloor.domain.budgets.errors import RaiseKeyReused, RaiseUnknown
from shopfloor.domain.budgets.models import Budget, BudgetRaise
from shopfloor.domain.budgets.periods import close_books, ensure_period
from shopfloor.infra.tx import Tx

_LONGEST = timedelta(days=366)


async def raise_budget(
    tx: Tx,
    budget: Budget,
    *,
    amount_nanos: int,
    reason: str,
    expires_at: datetime | None = None,
    for_hours: int | None = None,
    key: str | None = None,
) -> BudgetRaise:
    """`amount_nanos` more until it expires. With an Idempotency-Key `key` the same request gives the same raise.

    Raises: InvalidInput, RaiseKeyReused, PermissionDenied.
    """
    tx.require("budget.edit")
    now = tx.clock.now()
    ends = _end(now, expires_at, for_hours)
    raise_id = new_id()
    digest = hashlib.sha256(f"{budget.id} {amount_nanos} {reason} {expires_at} {for_hours}".encode()).digest()
    if key is not None and not await store.remember_raise(tx, key, digest, raise_id):
        return await _made_before(tx, budget, key, digest)
    await close_books(tx, tx.organization_id)
    row = BudgetRaise(
        raise_id, budget.id, amount_nanos, reason, tx.principal.user_id or tx.principal.id, now, ends, None
    )
    await store.add_raise(tx, row)
    await tx.record("budget.raised", "budget", budget.id, after=_told(row), project_id=budget.project_id)
    await look_again(tx, budget, await ensure_period(tx, budget, now))
    tx.wake(WAKE)
    return row


async def list_raises(tx: Tx, budget: Budget, *, before: UUID | None, limit: int) -> list[BudgetRaise]:
    """Newest first, those that are over included."""
    return await store.raises(tx, budget.id, before=before, limit=limit)


async def end_raise(tx: Tx, budget: Budget, raise_id: UUID) -> BudgetRaise:
    """Over now; it was already: nothing happens. Raises: RaiseUnknown, PermissionDenied."""
    tx.require("budget.edit")
    found = await _find(tx, budget, raise_id)
    await close_books(tx, tx.organization_id)
    if await store.end_raise(tx, raise_id):
        await tx.record("budget.raise-ended", "budget", budget.id, before=_told(found), project_id=budget.project_id)
        await look_again(tx, budget, await ensure_period(tx, budget, tx.clock.now()))
        tx.wake(WAKE)
    return await _find(tx, budget, raise_id)


async def _find(tx: Tx, budget: Budget, raise_id: UUID) -> BudgetRaise:
    found = await store.a_raise(tx, budget.id, raise_id)
    if found is None:
        raise RaiseUnknown(f"The budget has no raise {raise_id}. GET /api/v1/budgets/{budget.id}/raises lists them.")
    return found


async def _made_before(tx: Tx, budget: Budget, key: str, digest: bytes) -> BudgetRaise:
    known = await store.remembered_raise(tx, key)
    assert known is not None
    if known[0] != digest:
        raise RaiseKeyReused("This Idempotency-Key was used for another raise. Use a new key for a new one.")
    await find_budget(tx, budget.id)
    return await _find(tx, budget, known[1])


def _end(now: datetime, expires_at: datetime | None, for_hours: int | None) -> datetime:
    if (expires_at is None) == (for_hours is None):
        raise InvalidInput("Say when the raise ends: either expires_at, or for_hours.")
    ends = now + timedelta(hours=for_hours) if for_hours is not None else expires_at
    assert ends is not None
    if ends <= now:
        raise InvalidInput("The raise would be over already: name an expires_at that lies ahead.")
    if ends > now + _LONGEST:
        raise InvalidInput("A raise lasts a year at most. What is to stay is a change of the limit: PATCH the budget.")
    return ends


def _told(row: BudgetRaise) -> dict[str, Any]:
    return {
        "raise_id": str(row.id), "amount_nanos": row.amount_nanos, "reason": row.reason, "expires_at": row.expires_at,
    }  # fmt: skip
