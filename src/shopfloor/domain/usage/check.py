"""Whether the sums are the ledger's, and making them anew from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final, LiteralString
from uuid import UUID

from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.usage.add_up import ZONE
from shopfloor.domain.usage.models import SUMS
from shopfloor.infra.tx import Store, Tx, begin

_MOST_DIFFERENCES = 100
_ZONE: Final = ZONE.replace("{0}", "e.organization_id")
# What an entry did to `spent`: debited with what was spent, credited with what came back.
SIGNED: Final[LiteralString] = "case 'spent' when e.debit then e.amount_nanos when e.credit then -e.amount_nanos end"
BOOKED: Final[LiteralString] = "e.kind in ('spend', 'unknown', 'adjustment')"
# Each call has one of these, a free one too; a bill above what was held has a second entry, from `available`.
A_CALL: Final[LiteralString] = "e.credit = 'held'"
_TOKENS: Final[LiteralString] = (
    "coalesce(sum((h.usage ->> 'input_tokens')::bigint) filter (where first), 0), "
    "coalesce(sum((h.usage ->> 'cache_read_tokens')::bigint) filter (where first), 0), "
    "coalesce(sum(coalesce((h.usage ->> 'cache_write_5m_tokens')::bigint, 0) "
    "+ coalesce((h.usage ->> 'cache_write_1h_tokens')::bigint, 0)) filter (where first), 0), "
    "coalesce(sum((h.usage ->> 'output_tokens')::bigint) filter (where first), 0), "
    "coalesce(sum((h.usage ->> 'reasoning_tokens')::bigint) filter (where first), 0), "
    "coalesce(sum(coalesce((h.usage ->> 'audio_input_tokens')::bigint, 0) "
    "+ coalesce((h.usage ->> 'audio_output_tokens')::bigint, 0)) filter (where first), 0)"
)
_SUMMED: Final[LiteralString] = (
    "count(*) filter (where first), coalesce(sum(nanos), 0), coalesce(sum(nanos) filter (where kind = 'unknown'), 0), "
    f"coalesce(sum(nanos) filter (where kind = 'adjustment'), 0), {_TOKENS}"
)
_ENTRIES: Final[LiteralString] = (
    f"select e.organization_id, e.hold_id, e.kind, {SIGNED} as nanos, (e.at at time zone {_ZONE})::date as day, "
    f"{A_CALL} as first from ledger_entries e where e.organization_id = %(organization)s and {BOOKED}"
)
# The name of a model without its provider: holds keep both.
MODEL: Final[LiteralString] = (
    "case when starts_with(h.model, h.provider || '/') then substr(h.model, length(h.provider) + 2) else h.model end"
)
_KEYS: Final[LiteralString] = "organization_id, day, project_id, team_id, user_id, agent, provider, model"
_DAILY: Final[LiteralString] = (
    f"select e.organization_id, e.day, h.project_id, h.team_id, h.user_id, h.agent, h.provider, {MODEL} as model, "
    f"{_SUMMED} from ({_ENTRIES}) e join holds h on h.id = e.hold_id group by 1, 2, 3, 4, 5, 6, 7, 8"
)
_LABELS: Final[LiteralString] = (
    f"select e.organization_id, e.day, h.project_id, l.key, l.value, {_SUMMED} from ({_ENTRIES}) e "
    "join holds h on h.id = e.hold_id cross join lateral jsonb_each_text(h.labels) l group by 1, 2, 3, 4, 5"
)
_COLUMNS: Final[LiteralString] = ", ".join(SUMS)


@dataclass(frozen=True, slots=True)
class Difference:
    """One combination whose sums aren't the ledger's: the ledger's less ours."""

    day: date
    project_id: UUID
    team_id: UUID | None
    user_id: UUID | None
    agent: str
    provider: str
    model: str
    calls: int
    cost_nanos: int


@dataclass(frozen=True, slots=True)
class Checked:
    """How the sums compare. `differences` holds a hundred at most; none: they are equal to the nano-dollar."""

    ledger_nanos: int
    usage_nanos: int
    calls: int  # of the ledger
    differences: list[Difference]


async def check(store: Store, principal: Principal) -> Checked:
    """Compare the sums of every day and combination with the ledger. Raises: PermissionDenied."""
    principal.require("audit.read")
    async with begin(store, whole(principal)) as tx:
        parameters = {"organization": tx.organization_id, "most": _MOST_DIFFERENCES}
        ledger = await tx.one(
            f"select coalesce(sum({SIGNED}), 0)::bigint as nanos, count(*) filter (where {A_CALL}) "
            f"as calls from ledger_entries e where e.organization_id = %(organization)s and {BOOKED}",
            parameters,
        )
        sums = await tx.one(
            "select coalesce(sum(cost_nanos), 0)::bigint as nanos from usage_daily "
            "where organization_id = %(organization)s",
            parameters,
        )
        rows = await tx.all(
            f"select day, project_id, team_id, user_id, agent, provider, model, sum(calls)::bigint as calls, "
            f"sum(cost_nanos)::bigint as cost_nanos from (select {_KEYS}, calls, cost_nanos from ({_DAILY}) "
            f"as ledger({_KEYS}, {_COLUMNS}) union all select {_KEYS}, -calls, -cost_nanos from usage_daily "
            f"where organization_id = %(organization)s) both_ group by {_KEYS} "
            "having sum(calls) <> 0 or sum(cost_nanos) <> 0 order by day, abs(sum(cost_nanos)) desc limit %(most)s",
            parameters,
        )
    assert ledger is not None
    assert sums is not None
    return Checked(ledger["nanos"], sums["nanos"], ledger["calls"], [Difference(**row) for row in rows])


async def rebuild(store: Store, principal: Principal) -> int:
    """Make the sums anew from the ledger, by the days of the time zone that holds now; how many rows they are.

    Bookings wait meanwhile: the tables are locked first, so that what the ledger commits later is added on top.
    Raises: PermissionDenied.
    """
    principal.require("budget.edit")
    async with begin(store, principal) as tx:
        await tx.record("usage.rebuilt", "usage", "daily")
    async with begin(store, whole(principal)) as tx:
        await tx.execute("lock table usage_daily, usage_labels_daily in share row exclusive mode")
        parameters = {"organization": tx.organization_id}
        await _forget(tx, parameters)
        await tx.execute(
            f"insert into usage_labels_daily (organization_id, day, project_id, name, value, {_COLUMNS}) {_LABELS}",
            parameters,
        )
        return await tx.execute(f"insert into usage_daily ({_KEYS}, {_COLUMNS}) {_DAILY}", parameters)


async def _forget(tx: Tx, parameters: dict[str, UUID]) -> None:
    await tx.execute("delete from usage_daily where organization_id = %(organization)s", parameters)
    await tx.execute("delete from usage_labels_daily where organization_id = %(organization)s", parameters)


def whole(principal: Principal) -> Principal:
    """All projects of the organization, the private ones too: sums of a part would not be the ledger's."""
    return Principal("system", NIL, principal.organization_id, frozenset({"*"}), name="usage")
