"""One-time tokens: set-up links, resets, verifications, second-factor challenges, tickets for streams."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.domain.access.secret_text import hash_of, looks_like_one, new_secret
from shopfloor.domain.accounts.errors import LinkNotValid
from shopfloor.infra.tx import Store, Tx, begin_system

Purpose = Literal["setup", "reset", "verify", "second-factor", "ticket"]

LIFE: Final[dict[Purpose, timedelta]] = {
    "setup": timedelta(hours=72),
    "reset": timedelta(minutes=30),
    "verify": timedelta(hours=24),
    "second-factor": timedelta(minutes=5),
    "ticket": timedelta(seconds=30),
}
_TRIES: Final[dict[Purpose, int]] = {"second-factor": 5}
_NOT_VALID = "The link or token is wrong, was used already, or is too old. Ask for a new one."


@dataclass(frozen=True, slots=True)
class OneTime:
    """A token that was shown and is good."""

    id: UUID
    organization_id: UUID
    user_id: UUID
    data: dict[str, Any]


async def issue(tx: Tx, purpose: Purpose, user_id: UUID, *, data: dict[str, Any] | None = None,
                organization_id: UUID | None = None,
                life: timedelta | None = None) -> tuple[str, datetime]:  # fmt: skip
    """A new token's text, shown to whom it is for alone, and when it ends."""
    text, now = new_secret(), tx.clock.now()
    ends = now + (life or LIFE[purpose])
    await tx.execute(
        "insert into one_time_tokens (id, organization_id, user_id, purpose, token_hash, data, tries_left, created_at, "
        "expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            new_id(), organization_id or tx.organization_id, user_id, purpose, hash_of(text), Jsonb(data or {}),
            _TRIES.get(purpose, 1), now, ends,
        ),
    )  # fmt: skip
    return text, ends


async def issue_ticket(tx: Tx) -> tuple[str, datetime]:
    """For a WebSocket of the principal itself: it ends with its session or key. `access/sign_in.py` takes it."""
    who = tx.principal
    if who.user_id is None or (who.kind == "user" and who.session_id is None):
        raise InvalidInput("A ticket stands for a session or a key, and this request came with neither.")
    data = {"kind": who.kind, "id": str(who.session_id or who.id)}
    return await issue(tx, "ticket", who.user_id, data=data)


async def find(store: Store, purpose: Purpose, text: str) -> OneTime:
    """Whose token this is, in whatever organization; it is not used up. Raises: LinkNotValid."""
    if looks_like_one(text):
        async with begin_system(store) as tx:
            row = await tx.one(
                "select t.id, t.organization_id, t.user_id, t.data from one_time_tokens t "
                "join users u on u.id = t.user_id where t.token_hash = %s and t.purpose = %s and t.used_at is null "
                "and t.tries_left > 0 and t.expires_at > %s and u.disabled_at is null",
                (hash_of(text), purpose, tx.clock.now()),
            )
        if row is not None:
            return OneTime(**row)
    raise LinkNotValid(_NOT_VALID)


async def use(tx: Tx, token: OneTime) -> None:
    """From the commit on it is used up; of two at the same moment one gets here. Raises: LinkNotValid."""
    used = await tx.execute(
        "update one_time_tokens set used_at = %s where id = %s and used_at is null and expires_at > %s",
        (tx.clock.now(), token.id, tx.clock.now()),
    )
    if used != 1:
        raise LinkNotValid(_NOT_VALID)


async def try_once(tx: Tx, token: OneTime) -> None:
    """Count an attempt before its outcome is known. Raises: LinkNotValid when none is left."""
    counted = await tx.execute(
        "update one_time_tokens set tries_left = tries_left - 1 where id = %s and used_at is null and tries_left > 0 "
        "and expires_at > %s",
        (token.id, tx.clock.now()),
    )
    if counted != 1:
        raise LinkNotValid(_NOT_VALID)


async def withdraw(tx: Tx, user_id: UUID, *purposes: Purpose) -> None:
    """Those of a person that were not used."""
    await tx.execute(
        "delete from one_time_tokens where user_id = %s and purpose = any(%s) and used_at is null",
        (user_id, list(purposes)),
    )
