"""API keys for programs: made once in plain sight, listed without their secret, revoked for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Final
from uuid import UUID

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store
from shopfloor.domain.access.keys import KeyText, mint
from shopfloor.domain.access.models import ApiKey
from shopfloor.domain.access.permissions import EVERY
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Tx

PRINTS: Final = "api key"  # what their fingerprints are made for
LONGEST_LIFE = timedelta(days=3_660)
LONGEST_OVERLAP: Final = timedelta(days=30)
STANDARD_OVERLAP: Final = timedelta(hours=24)


class KeyUnknown(NotFound):
    """No key has this id, or not for this principal."""

    title = "There is no such key"


class KeyOver(Conflict):
    """It was revoked or has ended."""

    title = "The key is over"


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made for."""

    name: str
    permissions: frozenset[str]
    project_ids: frozenset[UUID] | None = None  # None: as many as its maker
    expires_at: datetime | None = None  # None: as long as its maker
    ip_ranges: tuple[str, ...] | None = None  # None: from anywhere
    user_id: UUID | None = None  # of a service account; None: its maker's person


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
        user_id=await _owner(tx, new, maker),
        public_id=text.public_id,
        secret_hash=sealer.fingerprint(PRINTS, text.text),
        fields={
            "name": new.name,
            "permissions": sorted(new.permissions),
            "project_ids": sorted(project_ids) if project_ids is not None else None,
            "expires_at": _expiry(new, maker),
            "ip_ranges": _ranges(new),
        },
    )
    after = {"permissions": sorted(new.permissions), "for": str(new.user_id) if new.user_id else None}
    await tx.record("key.created", "api-key", key_id, after=after)
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
    if await store.revoke_key(tx, key.id):
        await tx.record("key.revoked", "api-key", key.id)
        tx.wake(f"access:{tx.organization_id}")


async def rotate_key(tx: Tx, sealer: Sealer, key_id: UUID, *, overlap: timedelta) -> tuple[ApiKey, KeyText]:
    """The key with another secret, whose text can't be had again; the one before is good for `overlap` longer.

    Raises: KeyUnknown; KeyOver; PermissionDenied for a key that may more than who asks, or is another person's.
    """
    key = await find_key(tx, key_id)
    _refuse_beyond(tx, frozenset(key.permissions))
    if key.user_id != tx.principal.user_id and not await store.is_service_account(tx, key.user_id):
        raise PermissionDenied(
            "The key is another person's, and its new secret would let you act as them. Let them rotate it, or revoke "
            "it and make one of your own.",
            permission="key.edit",
        )
    now = tx.clock.now()
    text = mint(public_id=key.public_id)
    over = key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now)
    if over or not await store.rotate_key(
        tx, key, secret_hash=sealer.fingerprint("api key", text.text), overlap_until=now + overlap
    ):
        raise KeyOver("The key was revoked, has ended, or was rotated at the same moment. Make a new one instead.")
    await tx.record("key.rotated", "api-key", key.id, after={"overlap_s": int(overlap.total_seconds())})
    return await find_key(tx, key_id), text


def _check(tx: Tx, new: NewKey) -> None:
    unknown = sorted(new.permissions - EVERY)
    if unknown:
        raise InvalidInput(
            f"There is no permission {', '.join(unknown)}. There are: {', '.join(sorted(EVERY))}.", unknown=unknown
        )
    _refuse_beyond(tx, new.permissions)
    now = tx.clock.now()
    if new.expires_at is not None and not now < new.expires_at <= now + LONGEST_LIFE:
        raise InvalidInput("expires_at lies in the past or more than ten years ahead. Name a time between.")


def _refuse_beyond(tx: Tx, permissions: frozenset[str]) -> None:
    lacking = sorted(permission for permission in permissions if not tx.principal.allows(permission))
    if lacking:
        raise PermissionDenied(
            f"A key can't be given what its maker may not do itself: {', '.join(lacking)}. Leave these out, or let "
            "somebody who has them make the key.",
            permission=lacking[0], lacking=lacking,
        )  # fmt: skip


def _ranges(new: NewKey) -> list[str] | None:
    """Raises: InvalidInput."""
    if new.ip_ranges is None:
        return None
    try:
        return [str(ip_network(each)) for each in new.ip_ranges]
    except ValueError as error:
        raise InvalidInput(f"{error}. Write a range like 192.0.2.0/24 or 2001:db8::/32.") from error


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


async def _owner(tx: Tx, new: NewKey, maker: ApiKey | None) -> UUID:
    """Who a new key belongs to: a service account, or whoever made it, also through another key."""
    if new.user_id is not None and new.user_id != tx.principal.user_id:
        if not await store.is_service_account(tx, new.user_id):
            raise InvalidInput(
                f"There is no service account {new.user_id}. People make their own keys.", user_id=str(new.user_id)
            )
        return new.user_id
    if tx.principal.kind == "user":
        return tx.principal.id
    if maker is None:
        raise PermissionDenied(f"A {tx.principal.kind} can't own a key: sign in as a person or with a person's key.")
    return maker.user_id
