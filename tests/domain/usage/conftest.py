"""A stand-in for the ledger: it writes the rows that the ledger writes, and adds up in the same commit as it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.budgets.port import Booking, BookingKind, Charge
from shopfloor.domain.jobs.lease import worker_principal
from shopfloor.domain.usage.add_up import add_up
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Store, Tx, begin

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
ACCOUNTS = {"spend": ("spent", "held"), "unknown": ("spent", "held"), "adjustment": ("spent", "available")}


@dataclass(frozen=True)
class Paid:
    """One call that was paid for, as a test names it."""

    cost: int = 1_000
    project: str = "default"
    agent: str = "coding"
    provider: str = "mock"
    model: str = "small"
    kind: BookingKind = "spend"
    at: datetime = NOON
    user_id: UUID | None = None
    team_id: UUID | None = None
    usage: Mapping[str, int] = field(default_factory=lambda: {"input_tokens": 100, "output_tokens": 10})
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    task: str = "Fix it"
    hold_id: UUID | None = None  # of the call that an adjustment corrects
    price_id: UUID | None = None
    over: int = 0  # how much of the cost was above what was held: an entry of its own
    adds_up: bool = True


Pay = Callable[..., Awaitable[list[UUID]]]
MakeProject = Callable[[str], Awaitable[UUID]]


@pytest.fixture
def pay(store: Store, owner: Principal) -> Pay:
    """Book calls in one commit; the ids of their holds."""

    async def book(*calls: Paid) -> list[UUID]:
        async with begin(store, worker_principal(owner.organization_id, "ledger")) as tx:
            bookings = [await _booking(tx, call) for call in calls]
            await add_up(tx, [booking for booking, call in zip(bookings, calls, strict=True) if call.adds_up])
        return [booking.hold_id for booking in bookings]

    return book


@pytest.fixture
def make_project(store: Store, owner: Principal) -> MakeProject:
    """A project of this slug."""

    async def make(slug: str) -> UUID:
        project_id = new_id()
        async with begin(store, owner) as tx:
            await tx.execute(
                "insert into projects (id, organization_id, slug, name) values (%s, %s, %s, %s)",
                (project_id, tx.organization_id, slug, slug.title()),
            )
        return project_id

    return make


async def _booking(tx: Tx, call: Paid) -> Booking:
    project = await tx.one("select id from projects where slug = %s", (call.project,))
    assert project is not None
    hold_id = call.hold_id or await _hold(tx, call, project["id"])
    found = await tx.one("select job_id, run_id from holds where id = %s", (hold_id,))
    assert found is not None
    debit, credit = ACCOUNTS[call.kind]
    if call.cost < 0:
        debit, credit = credit, debit
    parts = [(credit, abs(call.cost) - call.over)] + ([("available", call.over)] if call.over else [])
    for source, amount in parts:
        await tx.execute(
            "insert into ledger_entries (organization_id, hold_id, job_id, kind, debit, credit, amount_nanos, "
            "period_ids, price_id, at) values (%s, %s, %s, %s, %s, %s, %s, '{}', %s, %s)",
            (tx.organization_id, hold_id, found["job_id"], call.kind, debit, source, amount, call.price_id, call.at),
        )
    if call.hold_id is not None:
        await tx.execute("update holds set cost_nanos = cost_nanos + %s where id = %s", (call.cost, hold_id))
    charge = Charge(
        tx.organization_id, project["id"], call.team_id, call.user_id, call.agent, found["job_id"], found["run_id"],
        call.labels,
    )  # fmt: skip
    first = call.kind != "adjustment"
    usage: Mapping[str, int] = call.usage if first else {}
    return Booking(hold_id, charge, call.provider, call.model, call.kind, call.cost, usage, int(first), call.at)


async def _hold(tx: Tx, call: Paid, project_id: UUID) -> UUID:
    job_id, run_id, hold_id = new_id(), new_id(), new_id()
    whole = f"{call.provider}/{call.model}"
    tokens: dict[str, Any] = dict(call.usage)
    await tx.execute(
        "insert into jobs (id, organization_id, project_id, agent, task, model, limits, state, cost_nanos, usage, "
        "spent_s, started_at, finished_at, created_by, created_at) values (%s, %s, %s, %s, %s, %s, '{}', 'succeeded', "
        "%s, %s, 60, %s, %s, %s, %s)",
        (
            job_id, tx.organization_id, project_id, call.agent, call.task, whole, call.cost, jsonb(tokens), call.at,
            call.at, tx.organization_id, call.at,
        ),
    )  # fmt: skip
    await tx.execute(
        "insert into runs (id, organization_id, job_id, fence, worker, state) values (%s, %s, %s, 1, 'w', 'ended')",
        (run_id, tx.organization_id, job_id),
    )
    await tx.execute(
        "insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, bound_nanos, "
        "cost_nanos, usage, held_at, ended_at, project_id, team_id, user_id, agent, provider, labels, price_id) "
        "values (%s, %s, %s, %s, '', 1, 1, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            hold_id, tx.organization_id, job_id, run_id, whole, "unknown" if call.kind == "unknown" else "settled",
            max(call.cost, 0), call.cost, jsonb(tokens), call.at, call.at, project_id, call.team_id, call.user_id,
            call.agent, call.provider, jsonb(dict(call.labels)), call.price_id,
        ),
    )  # fmt: skip
    return hold_id
