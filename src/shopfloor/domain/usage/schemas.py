"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from shopfloor.base.money import NANOS_PER_USD
from shopfloor.domain.models.schemas import ModelName, ProviderName
from shopfloor.domain.usage.check import Checked
from shopfloor.domain.usage.estimate import Estimate, Level, Range
from shopfloor.domain.usage.models import Line
from shopfloor.domain.usage.price_check import Problem
from shopfloor.domain.usage.rerate import Asked, Rerated
from shopfloor.infra.web.json_body import Body, Reply


class SumsReply(Reply):
    """What was used, and what it cost."""

    calls: int
    cost_usd: Decimal
    cost_nanos: int = Field(description="With calls of unknown cost at their bound, and with corrections.")
    unknown_nanos: int = Field(description="The part that was booked at its bound, since nobody knew what it cost.")
    adjusted_nanos: int = Field(description="Corrections booked in this time, of whichever calls; may be negative.")
    input_tokens: int = Field(description="Uncached.")
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int = Field(description="Without reasoning.")
    reasoning_tokens: int
    audio_tokens: int = Field(description="In and out.")


class LineReply(SumsReply):
    """One line of a report. Keys that it isn't grouped by are null."""

    day: date | None = Field(description="The day, or the first one of the week or month.")
    project_id: UUID | None
    team_id: UUID | None
    user_id: UUID | None
    agent: str | None
    provider: str | None
    model: str | None
    label: str | None = Field(description="The label's value.")
    name: str | None = Field(description="Of the project, else the team, else the person.")


class ReportReply(Reply):
    """Usage of some days, the dearest lines first (by day, if it is grouped by that)."""

    items: list[LineReply]
    next_cursor: str | None = None
    total: SumsReply = Field(description="Of all lines, also those of other pages.")
    first: date
    last: date
    time_zone: str = Field(description="In which the days begin.")


class DifferenceReply(Reply):
    """Sums that aren't the ledger's: the ledger's less ours."""

    day: date
    project_id: UUID
    team_id: UUID | None
    user_id: UUID | None
    agent: str
    provider: str
    model: str
    calls: int
    cost_nanos: int


class CheckReply(Reply):
    """Whether the sums are the ledger's."""

    ok: bool
    calls: int
    ledger_nanos: int
    usage_nanos: int
    differences: list[DifferenceReply] = Field(description="A hundred at most.")


class RebuiltReply(Reply):
    """What was made anew."""

    rows: int


class RangeReply(Reply):
    """Half of similar jobs took no more than p50, nine of ten no more than p90."""

    p50: float
    p90: float


class MoneyRangeReply(Reply):
    """The same of money."""

    p50: Decimal
    p90: Decimal


class CalibrationReply(Reply):
    """Each of the last jobs against what would have been estimated for it from the jobs before it."""

    tested: int
    p50_held: float | None = Field(description="Part that cost no more than its p50; 0.5 is perfect.")
    p90_held: float | None = Field(description="Part that cost no more than its p90; 0.9 is perfect.")


class EstimateReply(Reply):
    """What a job is likely to take."""

    level: Level = Field(description="Which jobs it is made of; `none`: none has ended yet, and all ranges are null.")
    samples: int
    cost_usd: MoneyRangeReply | None
    tokens: RangeReply | None
    duration_s: RangeReply | None
    calibration: CalibrationReply


Cursor = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]


class RerateRequest(Body):
    """Which calls to rate anew by the prices that are set for their time by now."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"from": "2026-11-01T00:00:00Z", "to": "2026-11-08T00:00:00Z"}]},
    )

    start: AwareDatetime = Field(alias="from", description="Calls made at this time or later.")
    until: AwareDatetime = Field(alias="to", description="Calls made before this time.")
    provider: ProviderName | None = None
    model: ModelName | None = None
    dry_run: bool = Field(default=False, description="Only say what would be booked.")
    cursor: Cursor | None = Field(default=None, description="`next_cursor` of the answer before.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.until:
            raise ValueError("from lies before to")
        return self

    def asked(self) -> Asked:
        """As the room takes it."""
        return Asked(self.start, self.until, self.provider, self.model, self.dry_run)


class FindingReply(Reply):
    """One price to look at."""

    provider: str
    model: str
    problem: Problem
    detail: str


class PriceCheckReply(Reply):
    """Which prices to look at."""

    models: int = Field(description="That were looked at: set up, or used in the last thirty days.")
    findings: list[FindingReply]


class RerateReply(Reply):
    """What was booked, or would be."""

    calls: int = Field(description="That were looked at.")
    changed: int
    delta_usd: Decimal = Field(description="Negative: less was owed.")
    delta_nanos: int
    unpriced: dict[str, str] = Field(description="Models whose calls stay as they are, and why.")
    next_cursor: str | None = Field(description="Not null: there are more calls; send it in a next request.")


def line_reply(line: Line) -> LineReply:
    """As HTTP shows it."""
    fields = asdict(line)
    return LineReply(
        **{name: value for name, value in fields.items() if name not in {"day_number", "digest"}},
        cost_usd=usd(line.cost_nanos),
    )


def sums_reply(sums: dict[str, int]) -> SumsReply:
    """As HTTP shows it."""
    return SumsReply(**sums, cost_usd=usd(sums["cost_nanos"]))


def check_reply(checked: Checked) -> CheckReply:
    """As HTTP shows it."""
    return CheckReply(
        ok=not checked.differences,
        calls=checked.calls,
        ledger_nanos=checked.ledger_nanos,
        usage_nanos=checked.usage_nanos,
        differences=[DifferenceReply(**asdict(each)) for each in checked.differences],
    )


def estimate_reply(found: Estimate) -> EstimateReply:
    """As HTTP shows it."""
    cost = found.cost_nanos
    return EstimateReply(
        level=found.level,
        samples=found.samples,
        cost_usd=None if cost is None else MoneyRangeReply(p50=usd(int(cost.p50)), p90=usd(int(cost.p90))),
        tokens=_range(found.tokens),
        duration_s=_range(found.duration_s),
        calibration=CalibrationReply(**asdict(found.calibration)),
    )


def rerate_reply(done: Rerated, next_cursor: str | None) -> RerateReply:
    """As HTTP shows it."""
    return RerateReply(
        calls=done.calls,
        changed=done.changed,
        delta_usd=usd(done.delta_nanos),
        delta_nanos=done.delta_nanos,
        unpriced=done.unpriced,
        next_cursor=next_cursor,
    )


def usd(nanos: int) -> Decimal:
    """Nano-USD as USD, exactly."""
    return Decimal(nanos) / NANOS_PER_USD


def _range(found: Range | None) -> RangeReply | None:
    return None if found is None else RangeReply(p50=found.p50, p90=found.p90)
