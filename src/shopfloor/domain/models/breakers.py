"""The breakers of providers in the database: read, told how calls went, one probe over all workers.

The rules are engine/providers/breaker.py; here is where their state lives. Times are the database's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.models import metrics
from shopfloor.engine.providers import breaker as rules
from shopfloor.engine.providers.breaker import Breaker, BreakerPolicy, BreakerState, Calls
from shopfloor.engine.providers.gate import Change, Lane
from shopfloor.infra.json_column import jsonb_or_null
from shopfloor.infra.tx import Tx

WAKE = "breakers"  # the notifier's key: some breaker opened or closed

_BREAKER: LiteralString = (
    "half_started_at, calls, failures, calls_before, failures_before, openings, opened_at, open_until, probe_until, "
    "closed_at"
)
_RETURNED: LiteralString = "provider_breakers." + _BREAKER.replace(", ", ", provider_breakers.")
_KEY: LiteralString = (
    "organization_id = %(organization_id)s and provider_id = %(provider_id)s and model = %(model)s "
    "and credential = %(credential)s"
)


@dataclass(frozen=True, slots=True)
class StoredBreaker:
    """A row, as people see it."""

    provider_id: UUID
    model: str
    credential: str
    ref: str  # `provider/model`
    half_started_at: datetime
    calls: int
    failures: int
    calls_before: int
    failures_before: int
    openings: int
    opened_at: datetime | None
    open_until: datetime | None
    probe_until: datetime | None
    closed_at: datetime | None
    last_error: dict[str, Any] | None
    last_failure_at: datetime | None
    updated_at: datetime

    def state(self, now: datetime) -> BreakerState:
        """Where it stands at `now`."""
        return self.breaker.state(now)

    @property
    def breaker(self) -> Breaker:
        """As the rules take it."""
        return Breaker(**{field.name: getattr(self, field.name) for field in fields(Breaker)})


@dataclass(frozen=True, slots=True)
class Open:
    """An open breaker as each process keeps it in mind."""

    organization_id: UUID
    provider_id: UUID
    model: str
    credential: str
    left_s: float  # until it may be probed
    probed: bool  # a probe is under way


async def report(
    tx: Tx,
    lane: Lane,
    calls: Calls,
    policy: BreakerPolicy,
    *,
    chance: random.Random,
    probe: bool = False,
    error: ShopfloorError | None = None,
) -> Change | None:
    """Count `calls`; whether that opened or closed the breaker. A provider that was removed meanwhile has none."""
    found = await _locked(tx, lane)
    if found is None:
        return None
    before, now = found
    after = rules.after(before, calls, policy, now=now, chance=chance, probe=probe)
    change = _change(before, after)
    await _write(tx, lane, after, now, error=error if calls.failed else None, woken_anew=change is not None)
    if change is not None:
        tx.wake(WAKE)
        tx.after_commit(lambda: metrics.BREAKER_CHANGES.labels(str(lane), change).inc())
    return change


async def take_probe(tx: Tx, lane: Lane, policy: BreakerPolicy) -> bool:
    """Whether the caller's is the one call that tries a half-open breaker. True as well when it has closed by now."""
    found = await _locked(tx, lane)
    if found is None or found[0].open_until is None:
        return found is not None
    before, now = found
    taken = rules.probing(before, policy, now=now)
    if taken is None:
        return False
    await _write(tx, lane, taken, now)
    tx.wake(WAKE)
    return True


async def give_probe_back(tx: Tx, lane: Lane) -> None:
    """The probe's call was never made, or was broken off by us: the next one may try."""
    found = await _locked(tx, lane)
    if found is not None and found[0].probe_until is not None:
        await _write(tx, lane, rules.probe_given_back(found[0]), found[1])
        tx.wake(WAKE)


async def open_ones(tx: Tx) -> list[Open]:
    """Every breaker that isn't closed, over all organizations (a system transaction)."""
    rows = await tx.all(
        "select organization_id, provider_id, model, credential, "
        "extract(epoch from open_until - now())::float8 as left_s, coalesce(probe_until > now(), false) as probed "
        "from provider_breakers where open_until is not null"
    )
    return [Open(**row) for row in rows]


async def of_provider(tx: Tx, provider_id: UUID) -> list[StoredBreaker]:
    """Those of one provider, by model."""
    rows = await tx.all(
        f"select provider_id, model, credential, ref, {_BREAKER}, last_error, last_failure_at, updated_at "
        "from provider_breakers where organization_id = %s and provider_id = %s order by model, credential",
        (tx.organization_id, provider_id),
    )
    return [StoredBreaker(**row) for row in rows]


async def not_closed(tx: Tx, provider_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these providers have a model that is left alone just now."""
    rows = await tx.all(
        "select distinct provider_id from provider_breakers where organization_id = %s and provider_id = any(%s) "
        "and open_until is not null",
        (tx.organization_id, list(provider_ids)),
    )
    return {row["provider_id"] for row in rows}


async def forget(tx: Tx, provider_id: UUID) -> None:
    """A new key or address: what was known of the old one says nothing."""
    await tx.execute(
        "delete from provider_breakers where organization_id = %s and provider_id = %s",
        (tx.organization_id, provider_id),
    )
    tx.wake(WAKE)


async def _locked(tx: Tx, lane: Lane) -> tuple[Breaker, datetime] | None:
    """The row, made if need be and locked, and the time after that: now() would be when the transaction began."""
    row = await tx.one(
        "insert into provider_breakers (organization_id, provider_id, model, credential, ref) "
        "select %(organization_id)s, id, %(model)s, %(credential)s, %(ref)s from providers where id = %(provider_id)s "
        "on conflict (organization_id, provider_id, model, credential) do update set ref = excluded.ref "
        f"returning {_RETURNED}, clock_timestamp() as now",
        _key(lane),
    )
    if row is None:
        return None
    now = row.pop("now")
    return Breaker(**row), now


async def _write(
    tx: Tx,
    lane: Lane,
    breaker: Breaker,
    now: datetime,
    *,
    error: ShopfloorError | None = None,
    woken_anew: bool = False,
) -> None:
    told = None if error is None else {"code": error.code(), "detail": error.detail}
    await tx.execute(
        "update provider_breakers set half_started_at = %(half_started_at)s, calls = %(calls)s, "
        "failures = %(failures)s, calls_before = %(calls_before)s, failures_before = %(failures_before)s, "
        "openings = %(openings)s, opened_at = %(opened_at)s, open_until = %(open_until)s, "
        "probe_until = %(probe_until)s, closed_at = %(closed_at)s, updated_at = %(now)s, "
        "woken = case when %(woken_anew)s then 0 else woken end, "
        "woken_at = case when %(woken_anew)s then null else woken_at end, "
        "last_error = coalesce(%(error)s, last_error), "
        f"last_failure_at = case when %(failed)s then %(now)s else last_failure_at end where {_KEY}",
        {
            **_key(lane), **rules.as_columns(breaker), "now": now, "error": jsonb_or_null(told),
            "failed": error is not None, "woken_anew": woken_anew,
        },
    )  # fmt: skip


def _change(before: Breaker, after: Breaker) -> Change | None:
    if after.open_until is None:
        return "closed" if before.open_until is not None else None
    return "opened" if after.open_until != before.open_until else None


def _key(lane: Lane) -> dict[str, Any]:
    return {
        "organization_id": lane.organization_id, "provider_id": lane.provider_id, "model": lane.model,
        "credential": lane.credential, "ref": str(lane),
    }  # fmt: skip
