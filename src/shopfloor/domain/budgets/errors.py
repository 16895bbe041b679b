"""What can go wrong when people set budgets."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, InvalidInput, NotFound


class BudgetUnknown(NotFound):
    """No budget has this id, or not for this principal."""

    title: ClassVar[str] = "There is no such budget"


class BudgetExists(Conflict):
    """The scope has a budget for this period already."""

    title: ClassVar[str] = "There is such a budget already"


class ScopeUnknown(InvalidInput):
    """What the budget is meant for doesn't exist."""

    title: ClassVar[str] = "There is nothing to set a budget for"


class RaiseUnknown(NotFound):
    """The budget has no raise of this id."""

    title: ClassVar[str] = "There is no such raise"


class RaiseKeyReused(Conflict):
    """The Idempotency-Key was used for another raise."""

    title: ClassVar[str] = "The Idempotency-Key was used for something else"
