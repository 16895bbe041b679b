"""Whether the books add up, over HTTP."""

from __future__ import annotations

from typing import Annotated, Protocol, cast

from fastapi import APIRouter, Depends, Request

from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.schemas import LedgerCheck
from shopfloor.infra.tx import Store, begin

router = APIRouter(prefix="/api/v1/ledger", tags=["budgets"])

# It adds up everything the organization has paid: for those who oversee, as the record is.
Auditor = Annotated[Principal, Depends(Require("audit.read", whole_organization=True))]


class LedgerState(Protocol):
    """What this needs of `app.state.shopfloor`."""

    store: Store
    ledger: Ledger


@router.get("/check", summary="Whether the books add up")
async def get_check(request: Request, principal: Auditor) -> LedgerCheck:
    """Held is the sum of open holds, spent the sum of entries, nothing is negative; in one snapshot of the database."""
    state = cast("LedgerState", request.app.state.shopfloor)
    async with begin(state.store, principal) as tx:
        wrong = await state.ledger.check(tx)
    return LedgerCheck(adds_up=not wrong, wrong=wrong)
