"""The calls of a provider under configured limits, in the database: each takes a ticket before it leaves.

One table is the sliding window of the last minute and the list of what is in flight, for all workers. A ticket whose
worker died expires. See docs/adr/0014-breakers-and-limits.md.
"""

from __future__ import annotations

from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.engine.providers.gate import Lane
from shopfloor.engine.providers.limits import Used, wait_for
from shopfloor.infra.tx import Tx


def wake_key(provider_id: UUID) -> str:
    """The notifier's key: a call of this provider has ended."""
    return f"calls:{provider_id}"


async def take(tx: Tx, lane: Lane, *, tokens: int, lifetime_s: float) -> UUID | float:
    """A ticket for a call of at most `tokens`, or the seconds after which to ask again."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (wake_key(lane.provider_id),))
    await _forget_old(tx, lane.provider_id)
    wait_s = wait_for(lane.limits, await used(tx, lane.provider_id), tokens)
    if wait_s is not None:
        return wait_s
    ticket = new_id()
    await tx.execute(
        "insert into provider_calls (id, organization_id, provider_id, tokens, expires_at) "
        "select %s, %s, id, %s, clock_timestamp() + make_interval(secs => %s) from providers where id = %s",
        (ticket, tx.organization_id, tokens, lifetime_s, lane.provider_id),
    )
    return ticket


async def hand_back(tx: Tx, lane: Lane, ticket: UUID, *, tokens: int | None) -> None:
    """The call has ended; `tokens` is what it really used, if that is known."""
    await tx.execute(
        "update provider_calls set ended_at = clock_timestamp(), tokens = coalesce(%s, tokens) where id = %s",
        (tokens, ticket),
    )
    tx.wake(wake_key(lane.provider_id))


async def used(tx: Tx, provider_id: UUID) -> Used:
    """What the last minute's calls and those in flight use."""
    row = await tx.one(
        "select count(*) filter (where ended_at is null and expires_at > clock_timestamp()) as in_flight, "
        "count(*) filter (where recent) as requests, "
        "coalesce(sum(tokens) filter (where recent), 0)::bigint as tokens, "
        "coalesce(extract(epoch from clock_timestamp() - min(started_at) filter (where recent)), 0)::float8 "
        "as oldest_s "
        "from (select *, started_at > clock_timestamp() - interval '60 seconds' as recent from provider_calls "
        "where organization_id = %s and provider_id = %s) calls",
        (tx.organization_id, provider_id),
    )
    assert row is not None
    return Used(**row)


async def _forget_old(tx: Tx, provider_id: UUID) -> None:
    await tx.execute(
        "delete from provider_calls where organization_id = %s and provider_id = %s "
        "and started_at < clock_timestamp() - interval '60 seconds' "
        "and (ended_at is not null or expires_at < clock_timestamp())",
        (tx.organization_id, provider_id),
    )
