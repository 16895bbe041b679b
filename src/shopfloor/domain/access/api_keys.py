"""API keys for programs: made once in plain sight, listed without their secret, revoked for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shopfloor.base.errors import InvalidInput, NotFound, PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store
from shopfloor.domain.access.keys import KeyText, mint
from shopfloor.domain.access.models import ApiKey
from shopfloor.domain.access.permissions import EVERY
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Tx

PRINTS: Final = "api key"  # what their fingerprints are made for
LONGEST_LIFE = timedelta(days=3_660)


class KeyUnknown(NotFound):
    """No key has this id, or not for this principal."""

    title = "There is no such key"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made for."""

    name: str
    permissions: frozenset[str]
    project_ids: frozenset[UUID] | None = None  # None: as many as its maker
    expires_at: datetime | None = None  # None: as long as its maker


async def create_key(tx: Tx, sealer: Sealer, new: NewKey) -> tuple[ApiKey, KeyText]:
    """The key's row, and its text, which can't be had again.

    Raises: PermissionDenied for more than its maker may or longer than its maker lasts; InvalidInput.
    """
    tx.require("key.edit")
    _check(tx, new)
    project_ids = await _projects(tx, new)
    maker = await store.key_by_id(tx, tx.principal.id) if tx.principal.kind == "key" else None
    key_id, text = new_id(), mint()
    await store.add_key(
        tx,
        key_id,
        user_id=_owner(tx, maker),
        public_id=text.public_id,
        secret_hash=sealer.fingerprint(PRINTS, text.text),
        fields={
            "name": new.name,
            "permissions": sorted(new.permissions),
            "project_ids": sorted(project_ids) if project_ids is not None else None,
            "expires_at": _expiry(new, maker),
        },
    )
    return await find_key(tx, key_id), text


async def list_keys(tx: Tx, *, after: UUID | None, limit: int) -> list[ApiKey]:
    """Oldest first, revoked ones too; to a key limited to projects, only those limited to the same."""
    tx.require("key.edit")
    return await store.keys(tx, after=after, limit=limit)


async def find_key(tx: Tx, key_id: UUID) -> ApiKey:
    """Raises: KeyUnknown, PermissionDenied."""
    tx.require("key.edit")
    key = await store.key_by_id(tx, key_id)
    if key is None:
        raise KeyUnknown(f"There is no key {key_id}. GET /api/v1/api-keys lists yours.")
    return key


async def revoke_key(tx: Tx, key_id: UUID) -> None:
    """From the commit on no request passes with it. Revoking twice changes nothing. Raises: KeyUnknown."""
    key = await find_key(tx, key_id)
    await store.revoke_key(tx, key.id)


def _check(tx: Tx, new: NewKey) -> None:
    unknown = sorted(new.permissions - EVERY)
    if unknown:
        raise InvalidInput(
            f"There is no permission {', '.join(unknown)}. There are: {', '.join(sorted(EVERY))}.", unknown=unknown
        )
    lacking = sorted(permission for permission in new.permissions if not tx.principal.allows(permission))
    if lacking:
        raise PermissionDenied(
            f"A key can't be given what its maker may not do itself: {', '.join(lacking)}. Leave these out, or let "
            "somebody who has them make the key.",
            permission=lacking[0], lacking=lacking,
        )  # fmt: skip
    now = tx.clock.now()
    if new.expires_at is not None and not now < new.expires_at <= now + LONGEST_LIFE:
        raise InvalidInput("expires_at lies in the past or more than ten years ahead. Name a time between.")


async def _projects(tx: Tx, new: NewKey) -> frozenset[UUID] | None:
    """The projects the key is limited to: never more than its maker's."""
    mine = tx.principal.project_ids
    if new.project_ids is None:
        return mine
    unknown = new.project_ids - await store.project_ids_of(tx, new.project_ids)
    if unknown or (mine is not None and not new.project_ids <= mine):
        beyond = sorted(str(each) for each in unknown or new.project_ids - (mine or frozenset()))
        raise InvalidInput(f"There is no project {', '.join(beyond)} that you could make a key for.", projects=beyond)
    return new.project_ids


def _expiry(new: NewKey, maker: ApiKey | None) -> datetime | None:
    """No key outlives the one that made it: it would be a way around the expiry."""
    end = maker.expires_at if maker is not None else None
    if end is not None and new.expires_at is not None and new.expires_at > end:
        raise PermissionDenied(
            f"The key that asks ends at {end.isoformat()}, and a key can't make one that outlives it. Name an earlier "
            "expires_at, leave it out, or make the key with one that lasts longer.",
            expires_at=end.isoformat(),
        )
    return new.expires_at or end


def _owner(tx: Tx, maker: ApiKey | None) -> UUID:
    """The person a new key belongs to: whoever made it, also through another key."""
    if tx.principal.kind == "user":
        return tx.principal.id
    if maker is None:
        raise PermissionDenied(f"A {tx.principal.kind} can't own a key: sign in as a person or with a person's key.")
    return maker.user_id
