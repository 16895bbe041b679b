"""Jobs that wait for a budget: who is set aside because its scope is paused, and who goes on when there is room again.

They go on in order, by priority and then as they came, and only as many as there is room for: a job that has gone on
counts with what it needs until it holds money for its next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.base.money import format_usd
from shopfloor.domain.jobs.events import emit
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

WAKE_LOCK = 0x5F0F_1009  # one process wakes at a time: two would promise the same room twice; the number is ours
_BATCH = 50
_HEADS = 200  # of each organization's line
_ASIDE = 200


@dataclass(slots=True)
class Room:
    """What one hard budget may still promise in its present period."""

    organization_id: UUID
    scope: tuple[str, str]
    nanos: int
    closed: bool = False  # somebody before in the line waits for it


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job, what its next call needs, and whose budgets that counts in."""

    id: UUID
    organization_id: UUID
    needs_nanos: int
    scopes: frozenset[tuple[str, str]]


def choose(waiting: Sequence[Waiting], promised: Sequence[Waiting], rooms: Sequence[Room]) -> list[UUID]:
    """The jobs that go on now, in the order of the line. Who doesn't fit keeps its budgets for itself."""
    for job in promised:
        for room in _of(job, rooms):
            room.nanos -= job.needs_nanos
    chosen: list[UUID] = []
    for job in waiting:
        if len(chosen) == _BATCH:
            break
        mine = _of(job, rooms)
        lacking = [room for room in mine if room.closed or room.nanos < job.needs_nanos]
        for room in lacking:
            room.closed = True
        if not lacking:
            for room in mine:
                room.nanos -= job.needs_nanos
            chosen.append(job.id)
    return chosen


def _of(job: Waiting, rooms: Sequence[Room]) -> list[Room]:
    return [room for room in rooms if room.organization_id == job.organization_id and room.scope in job.scopes]


_PAYERS: Final[LiteralString] = (
    "j.id, j.organization_id, coalesce(j.needs_nanos, 1) as needs_nanos, j.project_id, j.agent, p.team_id, "
    "coalesce((select u.id from users u where u.id = j.created_by), "
    "(select k.user_id from api_keys k where k.id = j.created_by)) as user_id"
)
_LINES: LiteralString = (
    f"select head.* from organizations o cross join lateral (select {_PAYERS} from jobs j "
    "join projects p on p.id = j.project_id where j.organization_id = o.id and j.state = 'waiting' "
    "and j.waiting_reason = 'budget' order by j.priority desc, j.id limit %s) head"
)
_PROMISED: LiteralString = (
    f"select {_PAYERS} from jobs j join projects p on p.id = j.project_id where j.organization_id = any(%s) "
    "and j.needs_nanos is not null and j.state in ('queued', 'running')"
)
_ROOMS: LiteralString = (
    "select b.organization_id, b.scope_type, b.scope_id, b.limit_nanos + coalesce((select sum(r.amount_nanos) "
    "from budget_raises r where r.budget_id = b.id and r.ended_at is null and r.expires_at > %(at)s), 0)::bigint "
    "- coalesce(p.spent_nanos + p.held_nanos, 0) as nanos from budgets b left join lateral ("
    "select * from budget_periods p where p.budget_id = b.id and p.starts_at <= %(at)s "
    "and (p.ends_at is null or p.ends_at > %(at)s) order by p.starts_at desc limit 1) p on true "
    "where b.organization_id = any(%(organizations)s) and b.hard and b.deleted_at is null"
)


async def wake_for_budgets(tx: Tx) -> list[UUID]:
    """Queue the jobs again whose budgets have room for what they need (a system transaction)."""
    if not await tx.one("select 1 from jobs where state = 'waiting' and waiting_reason = 'budget' limit 1"):
        return []
    if not await tx.one("select 1 where pg_try_advisory_xact_lock(%s)", (WAKE_LOCK,)):
        return []
    waiting = [_waiting(row) for row in await tx.all(_LINES, (_HEADS,))]
    organizations = sorted({job.organization_id for job in waiting})
    promised = [_waiting(row) for row in await tx.all(_PROMISED, (organizations,))]
    rooms = await tx.all(_ROOMS, {"at": tx.clock.now(), "organizations": organizations})
    chosen = choose(
        waiting, promised,
        [Room(row["organization_id"], (row["scope_type"], row["scope_id"]), row["nanos"]) for row in rooms],
    )  # fmt: skip
    rows = await tx.all(
        "update jobs set state = 'queued', waiting_reason = null, admitted_at = null, not_before = null, "
        "needs_nanos = coalesce(needs_nanos, 1), updated_at = now(), version = version + 1 where id in ("
        "select id from jobs where id = any(%s) and state = 'waiting' and waiting_reason = 'budget' "
        "order by id for no key update skip locked) returning id",
        (chosen,),
    )
    woken = {row["id"] for row in rows}
    for job_id in chosen:
        if job_id in woken:
            await emit(tx, job_id, ("job.queued", {"why": "its budget has room again"}))
    return [job_id for job_id in chosen if job_id in woken]


def _waiting(row: dict[str, Any]) -> Waiting:
    scopes = {
        ("organization", str(row["organization_id"])), ("project", str(row["project_id"])), ("agent", row["agent"]),
        ("team", str(row["team_id"])), ("user", str(row["user_id"])),
    }  # fmt: skip
    return Waiting(row["id"], row["organization_id"], row["needs_nanos"], frozenset(scopes))


_PAUSED: LiteralString = (
    "select p.id, p.ends_at, p.spent_nanos, p.paused_because, b.id as budget_id, b.organization_id, b.scope_type, "
    "b.scope_id, b.period, b.limit_nanos + coalesce((select sum(r.amount_nanos) from budget_raises r "
    "where r.budget_id = b.id and r.ended_at is null and r.expires_at > %(at)s), 0)::bigint as limit_nanos "
    "from budget_periods p join budgets b on b.id = p.budget_id where p.paused_at is not null "
    "and b.hard and b.auto_pause and b.deleted_at is null and (p.ends_at is null or p.ends_at > %(at)s) "
    "order by p.id limit 100"
)
_OF_SCOPE: Final[dict[str, LiteralString]] = {
    "organization": "true",
    "project": "j.project_id = %(scope_id)s::uuid",
    "agent": "j.agent = %(scope_id)s",
    "team": "j.project_id in (select id from projects where team_id = %(scope_id)s::uuid)",
    "user": "(j.created_by = %(scope_id)s::uuid or j.created_by in "
    "(select id from api_keys where user_id = %(scope_id)s::uuid))",
}


async def set_aside(tx: Tx) -> list[UUID]:
    """Let the queued jobs of paused scopes wait, instead of starting them (a system transaction).

    One that has just gone on after a wait is let through, and a replay, which costs nothing.
    """
    aside: list[UUID] = []
    for row in await tx.all(_PAUSED, {"at": tx.clock.now()}):
        because = _because(row)
        found = await tx.all(
            "update jobs set state = 'waiting', waiting_reason = 'budget', waiting_because = %(because)s, "
            "needs_nanos = %(needs)s, updated_at = now(), version = version + 1 where id in ("
            "select j.id from jobs j where j.organization_id = %(organization)s and j.state = 'queued' "
            "and j.admitted_at is null and j.needs_nanos is null and j.mode = 'run' "
            f"and {_OF_SCOPE[row['scope_type']]} order by j.id limit %(most)s for no key update skip locked) "
            "returning id",
            {
                "because": jsonb(because), "needs": _asked(row["paused_because"]),
                "organization": row["organization_id"], "scope_id": row["scope_id"], "most": _ASIDE,
            },
        )  # fmt: skip
        for job in sorted(found, key=lambda each: each["id"]):
            await emit(tx, job["id"], ("job.waiting", {"reason": "budget", "error": because}))
            aside.append(job["id"])
    return aside


def _asked(because: dict[str, Any] | None) -> int:
    """What the call needed that the budget was paused for."""
    return max(1, int((because or {}).get("asked_nanos", 1)))


def _because(row: dict[str, Any]) -> dict[str, Any]:
    ends_at: datetime | None = row["ends_at"]
    renews = f", or wait until it renews at {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else ""
    of = "in total" if row["period"] == "total" else f"for the {row['period']}"
    return {
        "code": "budget-paused",
        "detail": f"The {row['scope_type']}'s budget {of} is paused: {format_usd(row['spent_nanos'])} of "
        f"{format_usd(row['limit_nanos'])} are spent. The job goes on by itself: raise the budget with `shopfloor "
        f"budget raise {row['budget_id']}`{renews}.",
        "budget_id": str(row["budget_id"]),
        "period_id": str(row["id"]),
        "scope": {"type": row["scope_type"], "id": row["scope_id"]},
        "period": row["period"],
        "limit_nanos": row["limit_nanos"],
        "spent_nanos": row["spent_nanos"],
        "renews_at": ends_at.isoformat() if ends_at else None,
        "paused_because": row["paused_because"],
    }
