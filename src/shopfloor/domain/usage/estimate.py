"""What a job will cost before it is submitted, from similar ones that ended; and how well such estimates have held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, LiteralString
from uuid import UUID

from shopfloor.infra.tx import Tx

Level = Literal["project-agent-model", "agent-model", "organization", "none"]

FEWEST: Final = 5  # jobs; with fewer the next wider level is asked
_NEAREST: Final = 100  # of them, by the length of the task, an estimate is made of
_LOOKED_AT: Final = 500  # the newest of a level
_TESTED: Final = 100  # past jobs that an estimate is tried on

_SIMILAR: Final[LiteralString] = (
    "select cost_nanos, spent_s, length(task) as task_chars, coalesce((select sum(value::bigint) from "
    "jsonb_each_text(usage) where key like '%%tokens'), 0)::bigint as tokens from jobs "
    "where organization_id = %(organization)s and state in ('succeeded', 'failed') and mode = 'run' and turns > 0 "
    "and (%(projects)s::uuid[] is null or project_id = any(%(projects)s)) "
    "and (%(agent)s::text is null or agent = %(agent)s) "
    "and (%(model)s::text is null or split_part(model, ',', 1) = %(model)s) order by id desc limit %(limit)s"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One job that ended."""

    cost_nanos: int
    spent_s: float
    task_chars: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Range:
    """Half of similar jobs took no more than `p50`, nine of ten no more than `p90`."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How estimates would have fared, made for each of the last jobs of this level from those before it."""

    tested: int
    p50_held: float | None  # part of the jobs that cost no more than their p50; 0.5 is perfect. None: nothing to test
    p90_held: float | None  # 0.9 is perfect


@dataclass(frozen=True, slots=True)
class Estimate:
    """`level` says which jobs it was made of; `none` without any: then all ranges are None."""

    level: Level
    samples: int
    cost_nanos: Range | None
    tokens: Range | None
    duration_s: Range | None
    calibration: Calibration


async def estimate(
    tx: Tx, *, project_id: UUID | None, agent: str | None, model: str | None, task_chars: int | None
) -> Estimate:
    """From the narrowest level with enough jobs: project, agent and model; agent and model; the whole organization.

    Only jobs that the asker may see are looked at. Raises: PermissionDenied.
    """
    if project_id is not None:
        tx.require("usage.read", project_id)
    visible = tx.projects_where("usage.read")
    levels: list[tuple[Level, list[UUID] | None, str | None, str | None]] = [
        ("agent-model", visible, agent, model),
        ("organization", visible, None, None),
    ]
    if project_id is not None:
        levels.insert(0, ("project-agent-model", [project_id], agent, model))
    found: list[Sample] = []
    for level, projects, of_agent, of_model in levels:
        found = await _samples(tx, projects, of_agent, of_model)
        if len(found) >= FEWEST or (level == "organization" and found):
            return estimated(level, found, task_chars)
    return estimated("none", found, task_chars)


def estimated(level: Level, samples: Sequence[Sample], task_chars: int | None) -> Estimate:
    """The estimate from `samples`, newest first."""
    nearest = _nearest(samples, task_chars)
    return Estimate(
        level,
        len(nearest),
        _range([each.cost_nanos for each in nearest]),
        _range([each.tokens for each in nearest]),
        _range([each.spent_s for each in nearest]),
        calibration(samples),
    )


def calibration(samples: Sequence[Sample]) -> Calibration:
    """Each of the newest jobs against the estimate that those before it would have given."""
    trials: list[tuple[bool, bool]] = []
    for place, sample in enumerate(samples[:_TESTED]):
        earlier = samples[place + 1 :]
        foretold = _range([each.cost_nanos for each in _nearest(earlier, sample.task_chars)])
        if len(earlier) < FEWEST or foretold is None:
            break
        trials.append((sample.cost_nanos <= foretold.p50, sample.cost_nanos <= foretold.p90))
    if not trials:
        return Calibration(0, None, None)
    return Calibration(
        len(trials),
        round(sum(half for half, _ in trials) / len(trials), 3),
        round(sum(most for _, most in trials) / len(trials), 3),
    )


def _nearest(samples: Sequence[Sample], task_chars: int | None) -> Sequence[Sample]:
    if task_chars is None or len(samples) <= _NEAREST:
        return samples[:_NEAREST]
    asked = math.log1p(task_chars)
    return sorted(samples, key=lambda each: abs(math.log1p(each.task_chars) - asked))[:_NEAREST]


def _range(values: Sequence[float]) -> Range | None:
    if not values:
        return None
    ordered = sorted(values)
    return Range(_percentile(ordered, 0.5), _percentile(ordered, 0.9))


def _percentile(ordered: Sequence[float], part: float) -> float:
    """A value that occurred, as SQL's percentile_disc has it: the first at which `part` of all are reached."""
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)]


async def _samples(tx: Tx, projects: list[UUID] | None, agent: str | None, model: str | None) -> list[Sample]:
    rows = await tx.all(
        _SIMILAR,
        {
            "organization": tx.organization_id, "projects": projects, "agent": agent, "model": model,
            "limit": _LOOKED_AT,
        },
    )  # fmt: skip
    return [Sample(**row) for row in rows]
