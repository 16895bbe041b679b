"""Adding up what the ledger books, in the ledger's own commit: the sums by day are its own, to the nano-dollar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.domain.budgets.port import Booking
from shopfloor.domain.usage.models import SUMS
from shopfloor.infra.json_column import storable
from shopfloor.infra.tx import Tx

# In which zone a day begins.
ZONE: Final[LiteralString] = "coalesce((select o.time_zone from organizations o where o.id = {0}), 'UTC')"
_ZONE_OF_ROW: Final = ZONE.replace("{0}", "b.organization_id")
_SUMMED: Final[LiteralString] = ", ".join(f"sum({name})::bigint" for name in SUMS)
_ADDED: Final[LiteralString] = ", ".join(f"{name} = t.{name} + excluded.{name}" for name in SUMS)
_COLUMNS: Final[LiteralString] = ", ".join(SUMS)
_NAMES: Final[LiteralString] = ", ".join(f"%({name})s::bigint[]" for name in SUMS)

_DAILY: Final[LiteralString] = (
    "with b as (select * from unnest(%(organization_id)s::uuid[], %(at)s::timestamptz[], %(project_id)s::uuid[], "
    "%(team_id)s::uuid[], %(user_id)s::uuid[], %(agent)s::text[], %(provider)s::text[], %(model)s::text[], "
    f"{_NAMES}) as b(organization_id, at, project_id, team_id, user_id, agent, provider, model, {_COLUMNS})) "
    f"insert into usage_daily as t (organization_id, day, project_id, team_id, user_id, agent, provider, model, "
    f"{_COLUMNS}) select organization_id, (at at time zone {_ZONE_OF_ROW})::date, project_id, team_id, user_id, "
    f"agent, provider, model, {_SUMMED} from b group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8 "
    f"on conflict on constraint usage_daily_one do update set {_ADDED}"
)
_LABELS: Final[LiteralString] = (
    "with b as (select * from unnest(%(organization_id)s::uuid[], %(at)s::timestamptz[], %(project_id)s::uuid[], "
    f"%(name)s::text[], %(value)s::text[], {_NAMES}) as b(organization_id, at, project_id, name, value, {_COLUMNS})) "
    f"insert into usage_labels_daily as t (organization_id, day, project_id, name, value, {_COLUMNS}) "
    f"select organization_id, (at at time zone {_ZONE_OF_ROW})::date, project_id, name, value, {_SUMMED} from b "
    "group by 1, 2, 3, 4, 5 order by 1, 4, 2, 3, 5 "
    f"on conflict on constraint usage_labels_daily_one do update set {_ADDED}"
)


async def add_up(tx: Tx, bookings: Sequence[Booking]) -> None:
    """Implements domain/budgets/port.py::Booked. One statement, a second where jobs have labels.

    Rows are touched in one order, table by table: two processes that add up the same days wait for each other, and
    never in a circle.
    """
    if not bookings:
        return
    await tx.execute(_DAILY, _columns([_daily(each) for each in bookings]))
    labelled = [
        _sums(each)
        | {
            "organization_id": each.charge.organization_id, "at": each.at, "project_id": each.charge.project_id,
            "name": storable(name), "value": storable(value),
        }
        for each in bookings
        for name, value in each.charge.labels.items()
    ]  # fmt: skip
    if labelled:
        await tx.execute(_LABELS, _columns(labelled))


def sums_of_usage(usage: dict[str, int]) -> dict[str, int]:
    """The columns of tokens, from classes as engine/providers/port.py::Usage names them."""
    return {
        "input_tokens": usage.get("input_tokens", 0),
        "cache_read_tokens": usage.get("cache_read_tokens", 0),
        "cache_write_tokens": usage.get("cache_write_5m_tokens", 0) + usage.get("cache_write_1h_tokens", 0),
        "output_tokens": usage.get("output_tokens", 0),
        "reasoning_tokens": usage.get("reasoning_tokens", 0),
        "audio_tokens": usage.get("audio_input_tokens", 0) + usage.get("audio_output_tokens", 0),
    }


def _daily(booking: Booking) -> dict[str, Any]:
    charge = booking.charge
    return _sums(booking) | {
        "organization_id": charge.organization_id, "at": booking.at, "project_id": charge.project_id,
        "team_id": charge.team_id, "user_id": charge.user_id, "agent": charge.agent, "provider": booking.provider,
        "model": booking.model,
    }  # fmt: skip


def _sums(booking: Booking) -> dict[str, Any]:
    return {
        "calls": booking.calls,
        "cost_nanos": booking.cost_nanos,
        "unknown_nanos": booking.cost_nanos if booking.kind == "unknown" else 0,
        "adjusted_nanos": booking.cost_nanos if booking.kind == "adjustment" else 0,
        **sums_of_usage(dict(booking.usage)),
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[UUID | int | str | None]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
