"""Many letters at once: each in a transaction of its own, so that one refusal leaves the others done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shopfloor.base.errors import ShopfloorError, Unavailable
from shopfloor.base.principal import Principal
from shopfloor.domain.dead_letters.models import DeadLetter
from shopfloor.domain.dead_letters.settle import EDIT, Filters, list_letters
from shopfloor.infra.tx import Store, Tx, begin

MOST: Final = 100  # letters a request


@dataclass(frozen=True, slots=True)
class Refused:
    """A letter that stays as it is, and why."""

    letter_id: UUID
    error: ShopfloorError


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of each letter; `more`: as many fit the filter as one request settles, or more."""

    done: list[DeadLetter]
    refused: list[Refused]
    more: bool


async def settle_each(
    store: Store, principal: Principal, which: Sequence[UUID] | Filters,
    settle: Callable[[Tx, UUID], Awaitable[DeadLetter]],
) -> Settled:  # fmt: skip
    """Settle these, or the newest open ones that fit. Raises: Unavailable; what is refused is told, not raised."""
    ids, more = (list(dict.fromkeys(which)), False) if not isinstance(which, Filters) else (
        await _fitting(store, principal, which)
    )  # fmt: skip
    done: list[DeadLetter] = []
    refused: list[Refused] = []
    for letter_id in ids:
        try:
            async with begin(store, principal) as tx:
                letter = await settle(tx, letter_id)
            done.append(letter)
        except Unavailable:
            raise
        except ShopfloorError as error:
            refused.append(Refused(letter_id, error))
    return Settled(done, refused, more)


async def _fitting(store: Store, principal: Principal, filters: Filters) -> tuple[list[UUID], bool]:
    async with begin(store, principal) as tx:
        found = await list_letters(tx, filters, state="open", before=None, limit=MOST, permission=EDIT)
    return [letter.id for letter in found], len(found) == MOST
