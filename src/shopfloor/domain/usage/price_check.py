"""Which models in use have no price, a price of nothing, or one that the price list has left behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from shopfloor.domain.models import store as models
from shopfloor.domain.models.models import Provider
from shopfloor.domain.models.prices import price_in_force
from shopfloor.engine.providers.port import Credentials, Price, PriceUnknown
from shopfloor.engine.providers.published import differences
from shopfloor.engine.providers.seed import seeded
from shopfloor.infra.tx import Tx

Problem = Literal["unknown", "zero", "stale", "differs"]

_MOST_PROVIDERS: Final = 200
_IN_USE_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at."""

    provider: str
    model: str
    problem: Problem
    detail: str


async def check_prices(tx: Tx) -> tuple[int, list[Finding]]:
    """How many models were looked at, and what was found, by name.

    They are those that providers are set up for, and those used in thirty days. Raises: PermissionDenied.
    """
    tx.require("price.read")
    providers = {each.name: each for each in await models.providers(tx, after=None, limit=_MOST_PROVIDERS)}
    in_use = {(each.name, model.name) for each in providers.values() for model in each.offered}
    rows = await tx.all(
        "select distinct provider, model from usage_daily where organization_id = %s and day > current_date - %s "
        "and calls > 0",
        (tx.organization_id, _IN_USE_DAYS),
    )
    in_use |= {(row["provider"], row["model"]) for row in rows if row["provider"] in providers}
    found: list[Finding] = []
    for provider, model in sorted(in_use):
        found += [
            Finding(provider, model, problem, detail)
            for problem, detail in await _problems(tx, providers[provider], model)
        ]
    return len(in_use), found


async def _problems(tx: Tx, provider: Provider, model: str) -> list[tuple[Problem, str]]:
    who = Credentials(provider.name, provider.kind, "", provider.base_url, provider.region)
    try:
        price = await price_in_force(tx, who, model, record=False)
    except PriceUnknown as error:
        return [("unknown", error.detail)]
    return [*_zero(price), *_stale(who, model, price, tx.clock.now()), *_differs(who, price)]


def _zero(price: Price) -> Iterator[tuple[Problem, str]]:
    free = [unit for unit in ("input", "output") if not price.picos[unit]]
    if free:
        yield "zero", f"{' and '.join(free)} cost nothing, so no budget limits them. Set a price if that isn't so."


def _stale(who: Credentials, model: str, price: Price, at: datetime) -> Iterator[tuple[Problem, str]]:
    """An own price that was set before the price list changed, and says something else than the list."""
    if price.source != models.OWN:
        return
    try:
        listed = seeded(who, model, at).price
    except PriceUnknown:
        return
    if listed.valid_from > price.valid_from and listed.picos != price.picos:
        yield (
            "stale",
            (
                f"It was set for {price.valid_from:%Y-%m-%d} on, and {listed.source} has another since "
                f"{listed.valid_from:%Y-%m-%d}. Set it again, or set the list's."
            ),
        )


def _differs(who: Credentials, price: Price) -> Iterator[tuple[Problem, str]]:
    if price.source == models.OWN:
        return
    for each in differences(who.kind, price):
        yield "differs", each
