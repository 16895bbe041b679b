"""The FinOps Open Cost and Usage Specification: which columns there are, and a booking as one of its rows.

Source: FOCUS 1.2, specification/columns: every mandatory column, and those conditional and recommended ones that we
have something to say in. A row is a call, whose cost is that of several classes of tokens: it names no SKU price.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from shopfloor.base.money import NANOS_PER_USD
from shopfloor.domain.usage.models import Call

VERSION: Final = "1.2"
COLUMNS: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "EffectiveCost", "InvoiceIssuerName",
    "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ResourceId", "ResourceName",
    "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags", "x_Agent", "x_BookingKind", "x_EntryId", "x_HoldId", "x_PriceId",
    "x_TeamId", "x_UserId",
)  # fmt: skip
_SERVICE: Final = "AI and Machine Learning"
_TOKENS_ARE_NOT: Final = {"requests", "tool_calls"}
_ONE_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose costs they are."""

    id: UUID
    name: str
    zone: str  # by which its months are cut


def focus_row(call: Call, account: Account) -> dict[str, str | None]:
    """One row, each value as a CSV file has it: decimals without exponent, times in UTC to the second, JSON objects."""
    cost, tokens = usd_text(call.cost_nanos), _tokens(call)
    start, end = _month(call.at, account.zone)
    correction = call.kind == "adjustment"
    described = "Correction of" if correction else "Call of"
    quantity, unit = (None, None) if correction else (str(tokens), "Tokens")
    past = correction and _month(call.called_at, account.zone) != (start, end)
    second = call.at.replace(microsecond=0)
    return {
        "BilledCost": cost,
        "BillingAccountId": str(account.id),
        "BillingAccountName": account.name,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _time(end),
        "BillingPeriodStart": _time(start),
        "ChargeCategory": "Adjustment" if correction else "Usage",
        "ChargeClass": "Correction" if past else None,
        "ChargeDescription": f"{described} {call.provider}/{call.model} by agent {call.agent}",
        "ChargeFrequency": "One-Time" if correction else "Usage-Based",
        "ChargePeriodEnd": _time(second + _ONE_SECOND),
        "ChargePeriodStart": _time(second),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": unit,
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": call.provider,
        "ListCost": cost,
        "PricingQuantity": quantity,
        "PricingUnit": unit,
        "ProviderName": call.provider,
        "PublisherName": call.provider,
        "ResourceId": str(call.job_id),
        "ResourceName": None,
        "ResourceType": "Job",
        "ServiceCategory": _SERVICE,
        "ServiceName": call.model,
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": str(call.project_id),
        "SubAccountName": call.project,
        "SubAccountType": "Project",
        "Tags": orjson.dumps(call.labels, option=orjson.OPT_SORT_KEYS).decode(),
        "x_Agent": call.agent,
        "x_BookingKind": call.kind,
        "x_EntryId": str(call.entry_id),
        "x_HoldId": str(call.hold_id),
        "x_PriceId": str(call.price_id) if call.price_id else None,
        "x_TeamId": str(call.team_id) if call.team_id else None,
        "x_UserId": str(call.user_id) if call.user_id else None,
    }


def usd_text(nanos: int) -> str:
    """USD with nine decimals, exactly."""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    return f"{'-' if nanos < 0 else ''}{whole}.{rest:09d}"


def _tokens(call: Call) -> int:
    return sum(count for name, count in call.usage.items() if name not in _TOKENS_ARE_NOT)


def _month(at: datetime, zone: str) -> tuple[datetime, datetime]:
    local = at.astimezone(ZoneInfo(zone))
    start = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    later = start + timedelta(days=32)
    return start, later.replace(day=1)


def _time(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%SZ")
