"""What goes in and out of this room over HTTP. Money is decimal text in USD, exact to the nano-dollar."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from shopfloor.base.money import NANOS_PER_USD, nanos_from_usd
from shopfloor.domain.budgets.change import NewBudget
from shopfloor.domain.budgets.forecast import Forecast
from shopfloor.domain.budgets.models import BudgetAlert, BudgetRaise
from shopfloor.domain.budgets.port import Period, Scope
from shopfloor.domain.budgets.state import BudgetState, why_paused
from shopfloor.infra.web.json_body import Body, Reply

Usd = Annotated[
    Decimal,
    Field(ge=0, le=1_000_000_000, max_digits=19, decimal_places=9, description='USD, e.g. "1.00"; to the nano-dollar.'),
]
Zone = Annotated[
    str, StringConstraints(min_length=1, max_length=64), Field(json_schema_extra={"examples": ["Europe/Berlin"]})
]
Thresholds = Annotated[
    list[Annotated[int, Field(ge=1, le=1_000)]],
    Field(max_length=20, description="Alerts at these per cents of the limit, each once a period."),
]


class BudgetScope(Body):
    """Whose spending counts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "organization"}]})

    type: Scope
    id: str | None = Field(
        default=None,
        min_length=1,
        max_length=254,
        description="Project or team: id or slug. User: id or address. Agent: its name. Organization: left out.",
    )


class BudgetNew(Body):
    """A budget to set."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scope": {"type": "project", "id": "default"},
                    "period": "month",
                    "limit_usd": "250.00",
                    "hard": True,
                }
            ]
        }
    )

    scope: BudgetScope
    period: Period = Field(description="Weeks begin on Monday. `total`: once and for all.")
    limit_usd: Usd
    hard: bool = Field(default=True, description="False: it alerts, and refuses nothing.")
    time_zone: Zone | None = Field(default=None, description="Where its days begin. Null: the organization's.")
    thresholds: Thresholds = Field(default=[80, 90, 95, 100])
    auto_pause: bool = Field(default=True, description="A hard one that can't pay for a call pauses its scope.")


class BudgetChange(Body):
    """What to change. What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit_usd": "300.00"}]})

    limit_usd: Usd = Decimal(0)
    hard: bool = True
    time_zone: Zone = "UTC"
    thresholds: Thresholds = Field(default=[])
    auto_pause: bool = True


class ScopeReply(Reply):
    """Whose spending counts."""

    type: Scope
    id: str
    name: str = Field(description="What people call it.")


class ForecastReply(Reply):
    """What the scope will have spent by the end of the month: docs/how-to/budgets.md says how it is reckoned."""

    month_ends_at: datetime
    spent_usd: str
    expected_usd: str
    low_usd: str = Field(description="With `high_usd`: four of five months end between them.")
    high_usd: str
    daily_usd: str = Field(description="The weighted rate of the last days.")
    days: int = Field(description="Whole days of history behind it.")
    confident: bool = Field(description="False: fewer than three days of history.")
    limit_reached_at: datetime | None = Field(description="At that rate; null: not this month.")


class RaiseReply(Reply):
    """More money for a while."""

    id: UUID
    budget_id: UUID
    amount_usd: str
    reason: str
    created_by: UUID
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None = Field(description="Ended early.")


class BudgetReply(Reply):
    """A budget, and how its present period stands."""

    id: UUID
    scope: ScopeReply
    project_id: UUID | None
    period: Period
    time_zone: str
    limit_usd: str = Field(description="Without raises.")
    hard: bool
    thresholds: list[int]
    auto_pause: bool
    raised_usd: str = Field(description="Open raises, on top of the limit.")
    spent_usd: str = Field(description="In the present period.")
    held_usd: str = Field(description="Set aside for calls that are out.")
    unknown_usd: str = Field(description="Part of what is spent: calls of unknown fate, at their most.")
    over_usd: str = Field(description="By how much bills exceeded what was set aside for them.")
    left_usd: str = Field(description="Limit and raises without what is spent and held.")
    percent: float | None = Field(description="Of limit and raises that is spent; null: there is nothing to spend.")
    calls: int
    period_starts_at: datetime
    period_ends_at: datetime | None
    paused: bool
    paused_because: dict[str, Any] | None = Field(description="Facts, and what to do.")
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime


class BudgetDetail(BudgetReply):
    """The same with its open raises and the forecast of the month."""

    raises: list[RaiseReply]
    forecast: ForecastReply


class RaiseNew(Body):
    """How much more, until when, and why."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"amount_usd": "50.00", "for_hours": 24, "reason": "Release of 2.4"}]}
    )

    amount_usd: Annotated[Usd, Field(gt=0)]
    expires_at: AwareDatetime | None = None
    for_hours: int | None = Field(default=None, ge=1, le=8_784, description="In place of expires_at.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class LedgerCheck(Reply):
    """Whether the ledger, its holds, budgets and jobs agree."""

    adds_up: bool
    wrong: list[str] = Field(description="What doesn't, a sentence each; at most 100 of a kind.")


class AlertReply(Reply):
    """A threshold that was reached: once per budget, period and threshold."""

    id: UUID
    budget_id: UUID
    period_id: UUID
    threshold: int = Field(description="Per cent of the limit.")
    spent_usd: str
    limit_usd: str = Field(description="Raises included, at that time.")
    created_at: datetime


def new_budget(body: BudgetNew) -> NewBudget:
    """As the room takes it."""
    return NewBudget(
        body.scope.type, body.scope.id, body.period, nanos_from_usd(body.limit_usd), body.hard, body.time_zone,
        tuple(body.thresholds), body.auto_pause,
    )  # fmt: skip


def given_fields(body: BudgetChange) -> dict[str, Any]:
    """Only what was sent, as the row has it."""
    fields = {name: getattr(body, name) for name in body.model_fields_set}
    limit = fields.pop("limit_usd", None)
    return fields if limit is None else fields | {"limit_nanos": nanos_from_usd(limit)}


def budget_reply(state: BudgetState) -> BudgetReply:
    """As HTTP shows it in lists."""
    return BudgetReply(**_shown(state))


def budget_detail(state: BudgetState, raises: list[BudgetRaise], expected: Forecast) -> BudgetDetail:
    """As HTTP shows it alone."""
    return BudgetDetail(
        **_shown(state), raises=[raise_reply(each) for each in raises], forecast=forecast_reply(expected)
    )


def raise_reply(row: BudgetRaise) -> RaiseReply:
    """As HTTP shows it."""
    same = {name: getattr(row, name) for name in RaiseReply.model_fields if name != "amount_usd"}
    return RaiseReply(**same, amount_usd=usd(row.amount_nanos))


def alert_reply(row: BudgetAlert) -> AlertReply:
    """As HTTP shows it."""
    same = {name: getattr(row, name) for name in AlertReply.model_fields if not name.endswith("_usd")}
    return AlertReply(**same, spent_usd=usd(row.spent_nanos), limit_usd=usd(row.limit_nanos))


def forecast_reply(found: Forecast) -> ForecastReply:
    """As HTTP shows it."""
    names = ("spent", "expected", "low", "high", "daily")
    money = {f"{name}_usd": usd(getattr(found, f"{name}_nanos")) for name in names}
    return ForecastReply(
        **money, month_ends_at=found.month_ends_at, days=found.days, confident=found.confident,
        limit_reached_at=found.limit_reached_at,
    )  # fmt: skip


def usd(nanos: int) -> str:
    """Nano-USD as USD, exactly, and in plain digits."""
    return f"{Decimal(nanos) / NANOS_PER_USD:f}"


_SAME = (
    "id", "project_id", "period", "time_zone", "hard", "thresholds", "auto_pause", "version", "created_by",
    "created_at", "updated_at",
)  # fmt: skip


def _shown(state: BudgetState) -> dict[str, Any]:
    budget, period = state.budget, state.period
    return {
        **{name: getattr(budget, name) for name in _SAME},
        "scope": ScopeReply(type=budget.scope_type, id=budget.scope_id, name=state.name),
        "limit_usd": usd(budget.limit_nanos),
        "raised_usd": usd(state.raised_nanos),
        "spent_usd": usd(state.spent_nanos),
        "held_usd": usd(state.held_nanos),
        "unknown_usd": usd(period.unknown_nanos if period else 0),
        "over_usd": usd(period.over_nanos if period else 0),
        "left_usd": usd(state.left_nanos),
        "percent": state.percent,
        "calls": period.calls if period else 0,
        "period_starts_at": state.starts_at,
        "period_ends_at": state.ends_at,
        "paused": period is not None and period.paused_at is not None,
        "paused_because": why_paused(state),
    }
