"""The rows of this room, as the queries return them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, LiteralString
from uuid import UUID

SUMS: Final[tuple[LiteralString, ...]] = (
    "calls", "cost_nanos", "unknown_nanos", "adjusted_nanos", "input_tokens", "cache_read_tokens", "cache_write_tokens",
    "output_tokens", "reasoning_tokens", "audio_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UsageDay:
    """What one combination used on one day of its organization's time zone."""

    organization_id: UUID
    day: date
    project_id: UUID
    team_id: UUID | None
    user_id: UUID | None
    agent: str
    provider: str
    model: str
    calls: int
    cost_nanos: int  # with unknown calls at their bound and with adjustments
    unknown_nanos: int  # what was booked at its bound because nobody knew what it cost
    adjusted_nanos: int  # corrections booked that day, of whichever day's calls; may be negative
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_tokens: int


@dataclass(frozen=True, slots=True)
class LabelDay:
    """What the jobs of one project with one value of a label used on one day."""

    organization_id: UUID
    day: date
    project_id: UUID
    name: str
    value: str
    calls: int
    cost_nanos: int
    unknown_nanos: int
    adjusted_nanos: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report: the keys it was grouped by, and its sums. Keys that weren't asked for are None."""

    day: date | None
    project_id: UUID | None
    team_id: UUID | None
    user_id: UUID | None
    agent: str | None
    provider: str | None
    model: str | None
    label: str | None
    name: str | None  # of the project, team or user, if it is grouped by one of them
    calls: int
    cost_nanos: int
    unknown_nanos: int
    adjusted_nanos: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_tokens: int
    day_number: int  # where the line stands in the report: these three in order
    digest: str


@dataclass(frozen=True, slots=True)
class Call:
    """One booking, as an export has it: a call's cost, or a correction of it."""

    entry_id: int
    at: datetime
    called_at: datetime  # of the call itself, also where this is its correction
    kind: str  # spend, unknown, adjustment
    cost_nanos: int  # signed
    hold_id: UUID
    job_id: UUID
    project_id: UUID
    project: str  # its slug
    team_id: UUID | None
    user_id: UUID | None
    agent: str
    provider: str
    model: str
    usage: dict[str, int]  # tokens by class; empty for an adjustment and for what a bill was above its hold
    labels: dict[str, str]
    price_id: UUID | None
