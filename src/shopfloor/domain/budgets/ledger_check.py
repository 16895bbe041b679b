"""Whether the ledger adds up: sums against what they are sums of, in one organization."""

from __future__ import annotations

from typing import Final, LiteralString

from shopfloor.infra.tx import Tx

_MOST = 100  # of each kind are told

_PERIODS: LiteralString = """
with held as (
  select period_id, sum(bound_nanos)::bigint as nanos from holds, unnest(period_ids) as each(period_id)
  where organization_id = %(organization)s and state = 'held' group by period_id
), spent as (
  select period_id, sum(case when debit = 'spent' then amount_nanos else -amount_nanos end)::bigint as nanos
  from ledger_entries, unnest(period_ids) as each(period_id)
  where organization_id = %(organization)s and 'spent' in (debit, credit) group by period_id
), unknown as (
  select period_id, sum(cost_nanos)::bigint as nanos from holds, unnest(period_ids) as each(period_id)
  where organization_id = %(organization)s and state = 'unknown' group by period_id
)
select 'Period ' || p.id || ' of budget ' || p.budget_id || ': held_nanos is ' || p.held_nanos
  || ', its open holds are ' || coalesce(held.nanos, 0) || '; spent_nanos is ' || p.spent_nanos
  || ', its entries and what it was made with are ' || coalesce(spent.nanos, 0) + p.carried_nanos
  || '; unknown_nanos is ' || p.unknown_nanos || ', its unknown holds are ' || coalesce(unknown.nanos, 0) || '.'
  as wrong
from budget_periods p left join held on held.period_id = p.id left join spent on spent.period_id = p.id
left join unknown on unknown.period_id = p.id
where p.organization_id = %(organization)s and (p.held_nanos <> coalesce(held.nanos, 0)
  or p.spent_nanos <> coalesce(spent.nanos, 0) + p.carried_nanos or p.unknown_nanos <> coalesce(unknown.nanos, 0))
order by p.id limit %(most)s
"""
_HOLDS: LiteralString = """
with entries as (
  select hold_id,
    sum(case 'held' when debit then amount_nanos when credit then -amount_nanos else 0 end)::bigint as held,
    sum(case 'spent' when debit then amount_nanos when credit then -amount_nanos else 0 end)::bigint as spent,
    sum(case 'available' when debit then amount_nanos when credit then -amount_nanos else 0 end)::bigint as available
  from ledger_entries where organization_id = %(organization)s group by hold_id
)
select 'Hold ' || h.id || ' is ' || h.state || ', held at ' || h.bound_nanos || ' and booked at ' || h.cost_nanos
  || '; its entries leave ' || coalesce(e.held, 0) || ' held and ' || coalesce(e.spent, 0) || ' spent.' as wrong
from holds h left join entries e on e.hold_id = h.id
where h.organization_id = %(organization)s and h.provider is not null and (
  coalesce(e.held, 0) <> case when h.state = 'held' then h.bound_nanos else 0 end
  or coalesce(e.spent, 0) <> case when h.state in ('settled', 'unknown') then h.cost_nanos else 0 end
  or coalesce(e.held + e.spent + e.available, 0) <> 0)
order by h.id limit %(most)s
"""
_ENTRIES: LiteralString = """
select 'Entry ' || e.id || ' names the hold ' || e.hold_id || ', which there is not.' as wrong from ledger_entries e
where e.organization_id = %(organization)s and not exists (select from holds h where h.id = e.hold_id)
order by e.id limit %(most)s
"""
_NEGATIVE: LiteralString = """
select 'Period ' || id || ' of budget ' || budget_id || ' holds a negative sum.' as wrong from budget_periods
where organization_id = %(organization)s and least(spent_nanos, held_nanos, unknown_nanos, over_nanos, calls) < 0
order by id limit %(most)s
"""
_RULES: Final = (_PERIODS, _HOLDS, _ENTRIES, _NEGATIVE)
_EACH: LiteralString = "select wrong from ({rule}) broken"


async def check_ledger(tx: Tx) -> list[str]:
    """What doesn't add up, a sentence each, at most 100 of a kind. All rules read one snapshot."""
    # One statement: between two, calls would move money.
    union: LiteralString = " union all ".join([_EACH.format(rule=rule) for rule in _RULES])
    return [row["wrong"] for row in await tx.all(union, {"organization": tx.organization_id, "most": _MOST})]
