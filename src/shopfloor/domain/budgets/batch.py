"""What a batch of the ledger does to the books, decided in memory in the order of asking. Pure: no I/O.

The rows are locked meanwhile. Closings go first: what they free may be held in the same commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from shopfloor.domain.budgets.port import Ask, Booking, Charge, Closing, Period, Scope

Account = Literal["available", "held", "spent"]
EntryKind = Literal["hold", "release", "spend", "unknown", "adjustment"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: `amount_nanos` from the account `credit` to the account `debit`."""

    hold_id: UUID
    job_id: UUID
    kind: EntryKind
    debit: Account
    credit: Account
    amount_nanos: int
    period_ids: tuple[UUID, ...]
    price_id: UUID | None
    reason: str | None


@dataclass(slots=True)
class PeriodBook:
    """One budget in one period: its row as locked, changed in memory."""

    id: UUID
    budget_id: UUID
    scope_type: Scope
    scope_id: str
    period: Period
    hard: bool
    auto_pause: bool
    thresholds: list[int]
    limit_nanos: int  # open raises included
    starts_at: datetime
    ends_at: datetime | None
    spent_nanos: int
    held_nanos: int
    unknown_nanos: int
    calls: int
    over_nanos: int
    paused: bool
    wanted_at: datetime | None
    alerted: list[int]  # thresholds told in this period
    changed: bool = False
    wanted: bool = False  # somebody waits for its room
    overrun: tuple[int, int] | None = None  # the hold and the bill that was higher

    @property
    def left_nanos(self) -> int:
        """What is left if every open hold costs nothing."""
        return self.limit_nanos - self.spent_nanos

    @property
    def room_nanos(self) -> int:
        """What may be held now."""
        return self.left_nanos - self.held_nanos


@dataclass(slots=True)
class JobBook:
    """One job's row as locked, and what is added to it."""

    cost_nanos: int
    held_nanos: int
    cost: int = 0
    held: int = 0
    unknown: int = 0
    holds: int = 0
    usage: Counter[str] = field(default_factory=Counter[str])


@dataclass(slots=True)
class HoldRow:
    """A hold as stored, locked."""

    id: UUID
    state: str
    bound_nanos: int
    cost_nanos: int
    charge: Charge
    provider: str
    model: str
    price_id: UUID | None
    period_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """A hold's new row."""

    hold_id: UUID
    state: str
    cost_nanos: int
    usage: Mapping[str, int] | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class OverJobLimit:
    """The job's own limit doesn't pay for it; it never waits for that."""

    available_nanos: int


@dataclass(frozen=True, slots=True)
class OverBudget:
    """This period can't pay for it now: `for_good` not even if all that is held came back."""

    period: PeriodBook
    available_nanos: int  # the smallest that is left on any level
    for_good: bool


Refused = OverJobLimit | OverBudget


@dataclass(slots=True)
class Books:
    """All that one commit reads and changes."""

    at: datetime
    jobs: dict[UUID, JobBook]
    periods: dict[UUID, PeriodBook] = field(default_factory=dict[UUID, PeriodBook])
    current: dict[tuple[str, str], list[PeriodBook]] = field(default_factory=dict[tuple[str, str], list[PeriodBook]])
    holds: dict[UUID, HoldRow] = field(default_factory=dict[UUID, HoldRow])
    entries: list[Entry] = field(default_factory=list[Entry])
    closed: list[Closed] = field(default_factory=list[Closed])
    made: list[tuple[Ask, tuple[UUID, ...]]] = field(default_factory=list[tuple[Ask, tuple[UUID, ...]]])
    bookings: list[Booking] = field(default_factory=list[Booking])

    def of(self, charge: Charge) -> list[PeriodBook]:
        """The periods that a call of this charge counts in, by id."""
        found = [period for scope in scopes_of(charge) for period in self.current.get(scope, ())]
        return sorted(found, key=lambda each: each.id)


def scopes_of(charge: Charge) -> Iterable[tuple[str, str]]:
    """Whose budgets a call is held against."""
    yield "organization", str(charge.organization_id)
    yield "project", str(charge.project_id)
    yield "agent", charge.agent
    if charge.team_id is not None:
        yield "team", str(charge.team_id)
    if charge.user_id is not None:
        yield "user", str(charge.user_id)


def hold(books: Books, ask: Ask, blocked: set[UUID]) -> Refused | None:
    """Set it aside on every level, or say which can't. Who can't passes nobody: `blocked` budgets have a line."""
    job, amount = books.jobs[ask.charge.job_id], ask.amount_nanos
    available = ask.job_limit_nanos - job.cost_nanos - job.held_nanos
    if amount > available:
        return OverJobLimit(max(0, available))
    periods = books.of(ask.charge)
    hard = [period for period in periods if period.hard]
    if (refused := _refused(hard, amount, available, blocked)) is not None:
        return refused
    for period in periods:
        period.held_nanos += amount
        period.changed = True
    job.held_nanos += amount
    job.held += amount
    job.holds += 1
    ids = tuple(period.id for period in periods)
    books.made.append((ask, ids))
    books.entries.append(
        Entry(ask.hold_id, ask.charge.job_id, "hold", "held", "available", amount, ids, ask.price_id, None)
    )
    return None


def _refused(hard: list[PeriodBook], amount: int, available: int, blocked: set[UUID]) -> OverBudget | None:
    if not hard:
        return None
    left = max(0, min(available, *(period.left_nanos for period in hard)))
    tightest = min(hard, key=lambda period: period.left_nanos)
    if tightest.left_nanos < amount:
        return OverBudget(tightest, left, for_good=True)
    lacking = [period for period in hard if period.room_nanos < amount or period.budget_id in blocked]
    for period in lacking:
        blocked.add(period.budget_id)
        period.wanted = True
    return OverBudget(lacking[0], left, for_good=False) if lacking else None


def close(books: Books, closing: Closing) -> None:
    """End a hold: once, whoever says it how often. A bill that comes after it was booked as unknown corrects it."""
    row = books.holds.get(closing.hold_id)
    if row is None:
        return
    if row.state == "held":
        _end(books, row, closing)
    elif row.state == "unknown" and closing.state != "unknown":
        _correct(books, row, closing)


def _end(books: Books, row: HoldRow, closing: Closing) -> None:
    cost = _cost(row, closing)
    unknown = cost if closing.state == "unknown" else 0
    over, calls = max(0, cost - row.bound_nanos), int(closing.state != "released")
    for period in _periods(books, row):
        period.held_nanos -= row.bound_nanos
        _spend(period, cost, unknown, calls, over)
        if over:
            period.overrun = (row.bound_nanos, cost)
    job = books.jobs[row.charge.job_id]
    job.held_nanos -= row.bound_nanos
    job.held -= row.bound_nanos
    _pay(job, cost, unknown, closing.usage)
    within = min(cost, row.bound_nanos)
    kind: EntryKind = "unknown" if unknown else "spend"
    _enter(books, row, kind, "spent", "held", within, closing.reason)
    _enter(books, row, kind, "spent", "available", over, "more than was held")
    _enter(books, row, "release", "available", "held", row.bound_nanos - within, closing.reason)
    if calls:
        _tell(books, row, "unknown" if unknown else "spend", cost, closing.usage, 1)
    _store(books, row, closing, cost)


def _correct(books: Books, row: HoldRow, closing: Closing) -> None:
    cost = _cost(row, closing)
    delta = cost - row.cost_nanos
    for period in _periods(books, row):
        _spend(period, delta, -row.cost_nanos, -int(closing.state == "released"), max(0, cost - row.bound_nanos))
    _pay(books.jobs[row.charge.job_id], delta, -row.cost_nanos, closing.usage)
    if delta > 0:
        _enter(books, row, "adjustment", "spent", "available", delta, closing.reason)
    else:
        _enter(books, row, "adjustment", "available", "spent", -delta, closing.reason)
    _tell(books, row, "adjustment", delta, closing.usage, 0)
    _store(books, row, closing, cost)


def _cost(row: HoldRow, closing: Closing) -> int:
    match closing.state:
        case "released":
            return 0
        case "unknown":
            return row.bound_nanos
        case "settled":
            return closing.cost_nanos or 0


def _periods(books: Books, row: HoldRow) -> list[PeriodBook]:
    return [books.periods[each] for each in row.period_ids if each in books.periods]


def _spend(period: PeriodBook, cost: int, unknown: int, calls: int, over: int) -> None:
    period.spent_nanos += cost
    period.unknown_nanos += unknown
    period.calls += calls
    period.over_nanos += over
    period.changed = True


def _pay(job: JobBook, cost: int, unknown: int, usage: Mapping[str, int] | None) -> None:
    job.cost_nanos += cost
    job.cost += cost
    job.unknown += unknown
    job.usage.update(usage or {})


def _enter(
    books: Books, row: HoldRow, kind: EntryKind, debit: Account, credit: Account, amount: int, reason: str | None
) -> None:
    # A call that cost nothing has its entry too: it is a call.
    if amount or (kind in {"spend", "unknown"} and credit == "held"):
        job_id = row.charge.job_id
        books.entries.append(Entry(row.id, job_id, kind, debit, credit, amount, row.period_ids, row.price_id, reason))


def _tell(
    books: Books,
    row: HoldRow,
    kind: Literal["spend", "unknown", "adjustment"],
    cost: int,
    usage: Mapping[str, int] | None,
    calls: int,
) -> None:
    model = row.model.removeprefix(f"{row.provider}/")
    books.bookings.append(
        Booking(row.id, row.charge, row.provider, model, kind, cost, dict(usage or {}), calls, books.at)
    )


def _store(books: Books, row: HoldRow, closing: Closing, cost: int) -> None:
    books.closed.append(Closed(row.id, closing.state, cost, closing.usage, closing.reason))
    row.state, row.cost_nanos = closing.state, cost
