"""Reports: the sums by day, grouped as asked, the dearest lines first; of the projects that the asker may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, LiteralString, cast
from uuid import UUID

from shopfloor.base.errors import InvalidInput
from shopfloor.domain.access.projects import find_project
from shopfloor.domain.usage.models import SUMS, Line
from shopfloor.infra.tx import Tx

MOST_DAYS: Final = 1_100  # three years
_EARLIEST, _LATEST = date(1970, 1, 1), date(9990, 1, 1)
_LABEL: Final = "label:"
_WEEK: Final[LiteralString] = "date_trunc('week', day)::date"
_MONTH: Final[LiteralString] = "date_trunc('month', day)::date"
_BY_DAY: Final[dict[str, LiteralString]] = {"day": "day", "week": _WEEK, "month": _MONTH}
_KEYS: Final[dict[str, LiteralString]] = {
    "project": "project_id", "team": "team_id", "user": "user_id", "agent": "agent", "provider": "provider",
    "model": "model",
}  # fmt: skip
_NULL: Final[dict[str, LiteralString]] = {
    "project": "null::uuid", "team": "null::uuid", "user": "null::uuid", "agent": "null::text",
    "provider": "null::text", "model": "null::text",
}  # fmt: skip
_FILTERS: Final[dict[str, LiteralString]] = {
    "team": "team_id = %(team)s", "user": "user_id = %(user)s", "agent": "agent = %(agent)s",
    "provider": "provider = %(provider)s", "model": "model = %(model)s",
}  # fmt: skip
_NO_DAY: Final[LiteralString] = "null::date"
_BY_LABEL: Final[LiteralString] = "value as label"
_NO_LABEL: Final[LiteralString] = "null::text as label"
_WITH_LABEL: Final = {"project", *_BY_DAY}
_SUMMED: Final[LiteralString] = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in SUMS)
_ALL_KEYS: Final[LiteralString] = "1, 2, 3, 4, 5, 6, 7, 8"

Place = tuple[int, int, str]  # of the last line of a page: day number, cost, digest


@dataclass(frozen=True, slots=True)
class Question:
    """What a report is asked for. Days are those of the organization's time zone, both included."""

    group_by: tuple[str, ...]
    first: date
    last: date
    projects: list[UUID] | None = None  # None: all that the asker may see
    filters: dict[str, Any] = field(default_factory=dict[str, Any])  # team, user, agent, provider, model -> value
    label: tuple[str, str] | None = None  # only of jobs with this label and value

    @property
    def label_name(self) -> str | None:
        """The label that it is grouped by, or filtered by."""
        grouped = next((each.removeprefix(_LABEL) for each in self.group_by if each.startswith(_LABEL)), None)
        return grouped or (self.label[0] if self.label else None)


async def time_zone(tx: Tx) -> str:
    """In which the organization's days begin."""
    row = await tx.one("select time_zone as zone from organizations where id = %s", (tx.organization_id,))
    return (row["zone"] if row else None) or "UTC"


async def today(tx: Tx) -> date:
    """Where the organization is."""
    row = await tx.one("select (%s::timestamptz at time zone %s)::date as today", (tx.clock.now(), await time_zone(tx)))
    assert row is not None
    return cast("date", row["today"])


async def places(tx: Tx, project: str | None) -> list[UUID] | None:
    """The projects to report on: the one named, or those that the principal may see. Raises: ProjectUnknown."""
    if project is None:
        return tx.projects_where("usage.read")
    found = await find_project(tx, project)
    tx.require("usage.read", found.id)
    return [found.id]


def check_question(question: Question) -> None:
    """Raises: InvalidInput for what can't be answered, saying what can."""
    known = {*_BY_DAY, *_KEYS}
    keys = [each for each in question.group_by if not each.startswith(_LABEL)]
    labels = [each for each in question.group_by if each.startswith(_LABEL)]
    unknown = [each for each in keys if each not in known]
    if unknown or len(labels) > 1 or any(each == _LABEL for each in labels):
        raise InvalidInput(
            f"Usage can't be grouped by {', '.join(unknown or labels)}: name some of {', '.join(sorted(known))}, "
            "or one label as label:NAME.",
            group_by=list(question.group_by),
        )
    if len(set(_BY_DAY).intersection(keys)) > 1:
        raise InvalidInput("Group by one of day, week and month, not by several.", group_by=list(question.group_by))
    if question.label_name is not None:
        _check_label(question, keys)
    _check_days(question)


def _check_days(question: Question) -> None:
    known = _EARLIEST <= question.first <= question.last <= _LATEST
    if not known or question.last - question.first > timedelta(days=MOST_DAYS):
        raise InvalidInput(
            f"A report covers up to {MOST_DAYS} days from 1970 on, and `from` isn't after `to`: these are "
            f"{question.first} and {question.last}."
        )


def _check_label(question: Question, keys: list[str]) -> None:
    others = sorted({*keys, *question.filters} - _WITH_LABEL)
    if others or (question.label and question.label[0] != question.label_name):
        raise InvalidInput(
            f"Labels are added up by project and day only, one label at a time: leave out {', '.join(others) or 'one'}."
            " An export has every call with all its labels.",
            group_by=list(question.group_by),
        )


async def report(tx: Tx, question: Question, *, after: Place | None, limit: int) -> list[Line]:
    """By day, if it is grouped by that, and within it the dearest first.

    Raises: InvalidInput.
    """
    check_question(question)
    query, parameters = _grouped(question)
    rows = await tx.all(
        f"with g as ({query}), l as (select g.*, coalesce(day - date '2000-01-01', 0) as day_number, "
        "md5(concat_ws(chr(31), day, project_id, team_id, user_id, agent, provider, model, label)) as digest from g) "
        "select l.*, coalesce(p.name, t.name, u.name) as name from l left join projects p on p.id = l.project_id "
        "left join teams t on t.id = l.team_id left join users u on u.id = l.user_id "
        "where %(after_day)s::integer is null or day_number > %(after_day)s or (day_number = %(after_day)s and "
        "(cost_nanos < %(after_cost)s or (cost_nanos = %(after_cost)s and digest > %(after_digest)s))) "
        "order by day_number, cost_nanos desc, digest limit %(limit)s",
        parameters
        | dict(zip(("after_day", "after_cost", "after_digest"), after or (None, None, None), strict=True))
        | {"limit": limit},
    )
    return [Line(**row) for row in rows]


async def total(tx: Tx, question: Question) -> dict[str, int]:
    """The sums of all lines. Raises: InvalidInput."""
    check_question(question)
    table, where, parameters = _source(question)
    row = await tx.one(f"select {_SUMMED} from {table} where {where}", parameters)
    assert row is not None
    return dict(row)


def _grouped(question: Question) -> tuple[LiteralString, dict[str, Any]]:
    table, where, parameters = _source(question)
    by_day: LiteralString = _NO_DAY
    for each in question.group_by:
        by_day = _BY_DAY.get(each, by_day)
    keys: list[LiteralString] = [by_day + " as day"]
    for key, column in _KEYS.items():
        keys.append((column if key in question.group_by else _NULL[key]) + " as " + column)
    keys.append(_BY_LABEL if any(each.startswith(_LABEL) for each in question.group_by) else _NO_LABEL)
    return f"select {', '.join(keys)}, {_SUMMED} from {table} where {where} group by {_ALL_KEYS}", parameters


def _source(question: Question) -> tuple[LiteralString, LiteralString, dict[str, Any]]:
    """The table with what is asked for, what of it, and the parameters of that."""
    where: list[LiteralString] = [
        "organization_id = current_setting('app.organization_id')::uuid", "day between %(first)s and %(last)s",
        "(%(projects)s::uuid[] is null or project_id = any(%(projects)s))",
    ]  # fmt: skip
    where.extend(_FILTERS[key] for key in question.filters)
    table: LiteralString = "usage_daily"
    if question.label_name is not None:
        table = "usage_labels_daily"
        where.append("name = %(label_name)s")
        if question.label is not None:
            where.append("value = %(label_value)s")
    parameters = {
        **question.filters, "first": question.first, "last": question.last, "projects": question.projects,
        "label_name": question.label_name, "label_value": question.label[1] if question.label else None,
    }  # fmt: skip
    return table, " and ".join(where), parameters


def grouped_by(text: Sequence[str]) -> tuple[str, ...]:
    """`project,model` or the same in several parameters, each once. `organization` is the whole: no key at all."""
    named = [part.strip() for each in text for part in each.split(",")]
    return tuple(dict.fromkeys(each for each in named if each and each != "organization"))
