"""Rating calls anew by the prices that are set for their time by now: differences are booked as adjustments."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from shopfloor.base.principal import Principal
from shopfloor.domain.budgets.adjust import Correction, adjust
from shopfloor.domain.budgets.port import Booked
from shopfloor.domain.models import prices
from shopfloor.domain.models import store as models
from shopfloor.domain.usage.check import MODEL, whole
from shopfloor.engine.providers.port import Credentials, ModelRef, Price, PriceUnknown, Usage
from shopfloor.engine.providers.pricing import cost_nanos
from shopfloor.infra.tx import Store, Tx, begin

PAGE: Final = 500  # calls of one transaction
MOST: Final = 20_000  # calls of one request

_HOLDS: Final[LiteralString] = (
    f"select h.id, h.held_at, h.provider, {MODEL} as model, h.cost_nanos, h.usage, h.price_id from holds h "
    "where h.organization_id = %(organization)s and h.state = 'settled' and h.usage is not null "
    "and h.provider is not null and h.held_at < %(until)s and (h.held_at, h.id) > (%(at)s, %(after)s) "
    "and (%(provider)s::text is null or h.provider = %(provider)s) "
    f"and (%(model)s::text is null or {MODEL} = %(model)s) order by h.held_at, h.id limit %(limit)s"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls: those made from `start` to before `until`."""

    start: datetime
    until: datetime
    provider: str | None = None
    model: str | None = None
    dry_run: bool = False


@dataclass(slots=True)
class Rerated:
    """What came of it. `more`: the place to go on from, as (moment, hold); None: that was all."""

    calls: int = 0  # looked at
    changed: int = 0
    delta_nanos: int = 0  # what was booked in all; negative: less was owed
    unpriced: dict[str, str] = field(default_factory=dict[str, str])  # model -> why its calls stay as they are
    more: tuple[datetime, UUID] | None = None


async def rerate(
    store: Store,
    principal: Principal,
    asked: Asked,
    *,
    booked: Sequence[Booked],
    after: tuple[datetime, UUID] | None = None,
) -> Rerated:
    """Correct the calls of a span, page by page, each page one commit. Repeating it books nothing twice.

    Entries are never changed: each difference is a new one, counted in the periods its call was counted in.
    Raises: PermissionDenied.
    """
    principal.require("price.edit")
    done = Rerated()
    if not asked.dry_run:
        async with begin(store, principal) as tx:
            span = {"from": asked.start, "to": asked.until, "provider": asked.provider, "model": asked.model}
            await tx.record("price.rerated", "price", "calls", after=span)
    while done.calls < MOST:
        async with begin(store, whole(principal)) as tx:
            rows = await _page(tx, asked, after)
            corrections, delta = await _corrections(tx, rows, done.unpriced, record=not asked.dry_run)
            if not asked.dry_run:
                bookings = await adjust(tx, corrections, booked)
                corrections, delta = bookings, sum(each.cost_nanos for each in bookings)
        done.calls += len(rows)
        done.changed += len(corrections)
        done.delta_nanos += delta
        if len(rows) < PAGE:
            return done
        after = (rows[-1]["held_at"], rows[-1]["id"])
    done.more = after
    return done


async def _page(tx: Tx, asked: Asked, after: tuple[datetime, UUID] | None) -> list[dict[str, Any]]:
    at, hold = after or (asked.start, UUID(int=0))
    return await tx.all(
        _HOLDS,
        {
            "organization": tx.organization_id, "until": asked.until, "at": at, "after": hold,
            "provider": asked.provider, "model": asked.model, "limit": PAGE,
        },
    )  # fmt: skip


async def _corrections(
    tx: Tx, rows: list[dict[str, Any]], unpriced: dict[str, str], *, record: bool
) -> tuple[Sequence[Correction], int]:
    book = await _open_book(tx, {row["provider"] for row in rows}, record=record)
    found: list[Correction] = []
    delta = 0
    for row in rows:
        ref = ModelRef(row["provider"], row["model"])
        try:
            price = await book.price(tx, ref, row["held_at"], row["price_id"])
        except PriceUnknown as error:
            unpriced[str(ref)] = error.detail
            continue
        cost = cost_nanos(_usage(row["usage"]), price)
        if cost != row["cost_nanos"]:
            found.append(Correction(row["id"], cost, _id(price), "rated anew"))
            delta += cost - row["cost_nanos"]
    return found, delta


@dataclass(slots=True)
class _Book:
    """The prices of some providers. Between two dates from which some price holds, a model's is asked for once."""

    credentials: dict[str, Credentials]
    dates: list[datetime]
    record: bool  # what is taken over from the seed
    rows: dict[tuple[ModelRef, int, object], Price] = field(default_factory=dict[tuple[ModelRef, int, object], Price])

    async def price(self, tx: Tx, ref: ModelRef, at: datetime, held_by: UUID | None) -> Price:
        """Raises: PriceUnknown."""
        key = (ref, bisect_right(self.dates, at), held_by)
        if key not in self.rows:
            # A provider that was removed has no kind any more: only what was set for it by hand is known.
            who = self.credentials.get(ref.provider) or Credentials(ref.provider, "openai-compatible", "")
            standard = await prices.price_in_force(tx, who, ref.model, at, record=self.record)
            self.rows[key] = await prices.at_the_tier_of(tx, standard, held_by)
        return self.rows[key]


async def _open_book(tx: Tx, providers: set[str], *, record: bool) -> _Book:
    named = await models.providers_named(tx, sorted(providers))
    credentials = {name: Credentials(name, each.kind, "", each.base_url, each.region) for name, each in named.items()}
    return _Book(credentials, await prices.dates_of_prices(tx, credentials), record)


def _usage(stored: dict[str, int]) -> Usage:
    """As it was measured; `requests` is stored with it."""
    known = {name: stored[name] for name in Usage.__dataclass_fields__ if name in stored}
    return Usage(**known)


def _id(price: Price) -> UUID | None:
    return price.id if isinstance(price.id, UUID) else None
