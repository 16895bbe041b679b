"""Jobs that wait for a provider: what they wait for, and in which order they go on when it can be called again.

While a breaker is half-open one job tries for all. Once it has closed they go on in order, 1, 2, 4, ... a second more:
a provider that has just come back isn't knocked over by everybody who waited for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.domain.jobs.events import emit
from shopfloor.infra.tx import Tx

WAKE_LOCK = 0x5F0F_1012  # one process wakes at a time; the number is ours
_BATCH = 50
_HEADS = 32  # of each project's line are looked at
_MOST = 1_000
_RAMP_S = 8  # after which nobody counts any more: 511 jobs have gone on by then
_TRIED_S = 60.0  # the job that was to try the provider may take so long until it calls it

Ref = tuple[UUID, str]  # organization, `provider/model`


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that may go on as far as its own waiting is concerned."""

    id: UUID
    organization_id: UUID
    project_id: UUID
    waiting_on: Sequence[str]  # models, one of which is enough; none: whatever comes
    worn_out: bool  # its patience has ended: it goes on to say so


@dataclass(frozen=True, slots=True)
class Lane:
    """A breaker that is not, or not long since, closed."""

    is_open: bool
    half_open: bool
    probed: bool  # a call tries it just now
    closed_s: float | None  # seconds since it closed
    woken: int  # jobs that went on for it since it last opened or closed
    woken_s: float | None  # seconds since the last of them


async def note(tx: Tx, job_id: UUID, models: Sequence[str], *, patience_s: float) -> None:
    """What the parked job waits for, and for how much longer at most; in the transaction that parks it."""
    await tx.execute(
        "update jobs set waiting_on = %s, parked_at = now(), patience_ends_at = now() + make_interval(secs => %s) "
        "where id = %s and state = 'waiting'",
        (list(models), max(0.0, patience_s), job_id),
    )


async def wake_for_providers(tx: Tx) -> list[UUID]:
    """Queue the jobs again whose turn it is (a system transaction)."""
    if not await tx.one("select 1 from jobs where state = 'waiting' and waiting_reason = 'provider' limit 1"):
        return []
    if not await tx.one("select 1 where pg_try_advisory_xact_lock(%s)", (WAKE_LOCK,)):
        return []  # somebody else is at it: two would wake twice as many
    found = await tx.all(_HEADS_OF_LINES, {"heads": _HEADS, "most": _MOST})
    waiting = [Waiting(**row) for row in found]
    lanes = await _lanes(tx, {(job.organization_id, ref) for job in waiting for ref in job.waiting_on})
    chosen = choose(waiting, lanes)
    rows = await tx.all(
        "update jobs set state = 'queued', waiting_reason = null, admitted_at = null, not_before = null, "
        "waiting_on = null, updated_at = now(), version = version + 1 where id in (select id from jobs "
        "where id = any(%s) and state = 'waiting' and waiting_reason = 'provider' for update skip locked) returning id",
        (list(chosen),),
    )
    for row in rows:
        await emit(tx, row["id"], ("job.queued", {"why": "the wait is over"}))
    await _count(tx, Counter(chosen[row["id"]] for row in rows))
    return [row["id"] for row in rows]


def choose(waiting: Sequence[Waiting], lanes: Mapping[Ref, Lane]) -> dict[UUID, Ref | None]:
    """The jobs that go on now, each with the breaker it counts for (None: nothing holds it back). At most 50.

    In turn between organizations, within one in turn between projects, within one first come first served.
    """
    chosen: dict[UUID, Ref | None] = {}
    left = {ref: allowed(lane) for ref, lane in lanes.items()}
    for job in in_turn(waiting):
        if len(chosen) == _BATCH:
            break
        if job.worn_out or not job.waiting_on:
            chosen[job.id] = None
            continue
        refs = [(job.organization_id, ref) for ref in job.waiting_on]
        free = next((ref for ref in refs if ref not in left or left[ref] is None), None)
        if free is not None:
            chosen[job.id] = None
        elif (counted := next((ref for ref in refs if (left[ref] or 0) > 0), None)) is not None:
            left[counted] = (left[counted] or 0) - 1
            chosen[job.id] = counted
    return chosen


def allowed(lane: Lane) -> int | None:
    """How many more jobs may go on for it now; None: as many as there are."""
    if lane.is_open:
        return 0
    if lane.half_open:
        trying = lane.probed or (lane.woken > 0 and (lane.woken_s or 0.0) < _TRIED_S)
        return 0 if trying else 1
    if lane.closed_s is None or lane.closed_s >= _RAMP_S:
        return None
    return max(0, 2 ** (int(lane.closed_s) + 1) - 1 - lane.woken)


def in_turn(waiting: Sequence[Waiting]) -> list[Waiting]:
    """The fair order. Ids are in the order of submission."""
    projects: dict[UUID, int] = defaultdict(int)
    organizations: dict[UUID, int] = defaultdict(int)
    ranked: list[tuple[int, UUID, Waiting]] = []
    for job in sorted(waiting, key=lambda each: each.id):
        ranked.append((projects[job.project_id], job.id, job))
        projects[job.project_id] += 1
    turns: list[tuple[int, UUID, Waiting]] = []
    for _, _, job in sorted(ranked, key=lambda each: each[:2]):
        turns.append((organizations[job.organization_id], job.id, job))
        organizations[job.organization_id] += 1
    return [job for _, _, job in sorted(turns, key=lambda each: each[:2])]


# Of each project's line only the head is read; jobs behind an open breaker are passed over in the index's order.
_HEADS_OF_LINES: Final[LiteralString] = """
select head.* from projects p cross join lateral (
  select j.id, j.organization_id, j.project_id, coalesce(j.waiting_on, '{}') as waiting_on,
    coalesce(j.patience_ends_at < now(), false) as worn_out
  from jobs j
  where j.project_id = p.id and j.state = 'waiting' and j.waiting_reason = 'provider'
    and (j.not_before <= now() or j.patience_ends_at < now() or exists (
      select from provider_breakers b where b.organization_id = j.organization_id and b.ref = any(j.waiting_on)
        and (b.open_until <= now() or (b.open_until is null and b.closed_at > j.parked_at))))
    and (j.waiting_on is null or j.waiting_on = '{}' or j.patience_ends_at < now() or exists (
      select from unnest(j.waiting_on) as ref where not exists (
        select from provider_breakers b where b.organization_id = j.organization_id and b.ref = ref.ref
          and b.open_until > now())))
  order by j.id limit %(heads)s
) head limit %(most)s
"""


async def _lanes(tx: Tx, refs: set[Ref]) -> dict[Ref, Lane]:
    rows = await tx.all(
        "select b.organization_id, b.ref, bool_or(coalesce(open_until > now(), false)) as is_open, "
        "bool_or(coalesce(open_until <= now(), false)) as half_open, "
        "bool_or(coalesce(probe_until > now(), false)) as probed, "
        "extract(epoch from now() - max(closed_at))::float8 as closed_s, max(woken) as woken, "
        "extract(epoch from now() - max(woken_at))::float8 as woken_s "
        "from unnest(%s::uuid[], %s::text[]) as asked(organization_id, ref) "
        "join provider_breakers b on b.organization_id = asked.organization_id and b.ref = asked.ref "
        "group by b.organization_id, b.ref",
        ([organization_id for organization_id, _ in refs], [ref for _, ref in refs]),
    )
    return {(row.pop("organization_id"), row.pop("ref")): Lane(**row) for row in rows}


async def _count(tx: Tx, woken: Mapping[Ref | None, int]) -> None:
    counted: list[tuple[Any, ...]] = [(ref[0], ref[1], times) for ref, times in woken.items() if ref is not None]
    for organization_id, ref, times in counted:
        await tx.execute(
            "update provider_breakers set woken = woken + %s, woken_at = now() where organization_id = %s and ref = %s",
            (times, organization_id, ref),
        )
