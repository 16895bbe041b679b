"""Who is asking: from the credential a request carries to the principal that acts. One query a request."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from shopfloor.base.errors import NotSignedIn
from shopfloor.base.principal import Principal
from shopfloor.domain.access.grants import RIGHTS, Rights, rights_from
from shopfloor.domain.access.keys import KeyText, parse
from shopfloor.domain.access.secret_text import hash_of, looks_like_one
from shopfloor.domain.access.tokens import KeyRing, read_token
from shopfloor.infra.origin import origin
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, Tx, asking_system, begin_system

_USE_PRECISION = timedelta(minutes=1)  # a write at every request would cost more than the exact time is worth

_REFUSAL = (
    "This request carries no valid key. Send one in the Authorization header, as a Bearer token; the first key lies in "
    "SHOPFLOOR_HOME/admin.key, others are made with POST /api/v1/api-keys. People sign in with POST "
    "/api/v1/auth/sign-in; a session that was ended or not used for long wants that again."
)
_FACTOR_WANTED = (
    "Your organization asks for a second factor now, and this session began without yours. Sign in again: `shopfloor "
    "login`, or POST /api/v1/auth/sign-in."
)
_KEY: Final = (
    "select k.id, k.organization_id, k.user_id, k.name, k.secret_hash, k.previous_hash, k.previous_until, "
    "k.permissions, k.project_ids, k.ip_ranges, k.expires_at, k.revoked_at, k.last_used_at, "
    f"person.disabled_at, {RIGHTS} from api_keys k join users person on person.id = k.user_id "
)
_SESSION: Final = (
    "select s.id, s.organization_id, s.user_id, s.restricted, s.signed_in_at, s.last_seen_at, s.idle_s, s.ends_at, "
    f"s.revoked_at, person.name, person.disabled_at, asked.factor_from, asked.has_factor, asked.proved, {RIGHTS} "
    "from sessions s join users person on person.id = s.user_id left join lateral ("
    # Looked at only where the organization asks for a second factor, which may be since after this session began.
    "select greatest(p.mfa_required_since, person.created_at) + make_interval(days => p.mfa_grace_days) "
    "as factor_from, "
    "exists (select from totp_secrets t where t.organization_id = s.organization_id and t.user_id = s.user_id "
    "and t.confirmed_at is not null) or exists (select from passkeys k where k.organization_id = s.organization_id "
    "and k.user_id = s.user_id) as has_factor, "
    "cardinality(s.methods) > 1 or s.methods[1] = 'passkey' as proved "
    "from sign_in_policies p where p.organization_id = s.organization_id and p.mfa_required"
    ") asked on true "
)


async def authenticate(
    store: Store, sealer: Sealer, authorization: str | None, *, ring: KeyRing | None = None
) -> Principal:
    """The principal of an `Authorization` header: a key or an access token.

    Raises: NotSignedIn, the same whichever part was wrong.
    """
    scheme, _, text = (authorization or "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer":
        raise NotSignedIn(_REFUSAL)
    if (key := parse(text)) is not None:
        return await _by_key(store, sealer, key)
    if ring is not None and text.startswith("eyJ"):
        return await _by_token(store, ring, text)
    raise NotSignedIn(_REFUSAL)


async def by_cookie(store: Store, secret: str) -> Principal:
    """The principal of a browser session. Raises: NotSignedIn."""
    async with asking_system(store) as tx:
        row = await tx.one(_SESSION + "where s.secret_hash = %s and s.kind = 'browser'", (hash_of(secret),))
        return await _of_session(tx, row)


async def by_ticket(store: Store, text: str) -> Principal:
    """The principal that took this ticket, which is used up by it. Raises: NotSignedIn."""
    if not looks_like_one(text):
        raise NotSignedIn(_REFUSAL)
    async with begin_system(store) as tx:
        ticket = await tx.one(
            "update one_time_tokens set used_at = %s where token_hash = %s and purpose = 'ticket' and used_at is null "
            "and expires_at > %s returning data",
            (tx.clock.now(), hash_of(text), tx.clock.now()),
        )
        if ticket is None:
            raise NotSignedIn(
                "The ticket is wrong, was used already, or is older than 30 s. POST /api/v1/auth/ws-ticket gives one."
            )
        return await _of_ids(tx, ticket["data"]["kind"], UUID(ticket["data"]["id"]))


async def still(store: Store, principal: Principal) -> Principal:
    """`principal` as it is allowed now: its key, session or person may have ended. Raises: NotSignedIn."""
    if principal.kind == "user" and principal.session_id is None:
        return principal  # this machine's owner
    async with asking_system(store) as tx:
        return await _of_ids(tx, principal.kind, principal.session_id or principal.id)


async def _by_key(store: Store, sealer: Sealer, key: KeyText) -> Principal:
    async with asking_system(store) as tx:
        row = await tx.one(_KEY + "where k.public_id = %s", (key.public_id,))
        sent = sealer.fingerprint("api key", key.text)
        if row is None or not _is_secret_of(row, sent, tx.clock.now()):
            raise NotSignedIn(_REFUSAL)
        return await _of_key(tx, row)


async def _by_token(store: Store, ring: KeyRing, text: str) -> Principal:
    claims = await read_token(ring, text, store.services.clock.now())
    if claims is None:
        raise NotSignedIn(_REFUSAL)
    async with asking_system(store) as tx:  # nothing here needs two statements to agree
        row = await tx.one(
            _SESSION + "where s.id = %s and s.user_id = %s and s.kind = 'token'", (claims.session_id, claims.user_id)
        )
        return await _of_session(tx, row)


async def _of_ids(tx: Tx, kind: str, key_or_session_id: UUID) -> Principal:
    if kind == "user":
        return await _of_session(tx, await tx.one(_SESSION + "where s.id = %s", (key_or_session_id,)))
    row = await tx.one(_KEY + "where k.id = %s", (key_or_session_id,))
    if row is None:
        raise NotSignedIn(_REFUSAL)
    return await _of_key(tx, row)


async def _of_key(tx: Tx, row: Mapping[str, Any]) -> Principal:
    now = tx.clock.now()
    ended = row["revoked_at"] is not None or (row["expires_at"] is not None and row["expires_at"] <= now)
    if ended or row["disabled_at"] or not _comes_from(row["ip_ranges"], origin().address):
        raise NotSignedIn(_REFUSAL)
    await _note_use(tx, row)
    owner = rights_from(row["rights"])
    # A key never may more than the person it belongs to may today.
    own = frozenset[str](row["permissions"])
    return Principal(
        "key", row["id"], row["organization_id"], own & owner.permissions,
        frozenset[UUID](row["project_ids"]) if row["project_ids"] is not None else None,
        name=f"key {row['name']}",
        project_permissions={place: own & held for place, held in owner.project_permissions.items()},
        user_id=row["user_id"],
    )  # fmt: skip


async def _of_session(tx: Tx, row: Mapping[str, Any] | None) -> Principal:
    now = tx.clock.now()
    if row is None or row["disabled_at"] or row["revoked_at"] or row["ends_at"] <= now:
        raise NotSignedIn(_REFUSAL)
    if row["last_seen_at"] + timedelta(seconds=row["idle_s"]) <= now:
        raise NotSignedIn(_REFUSAL)
    if now - row["last_seen_at"] > min(_USE_PRECISION, timedelta(seconds=row["idle_s"] / 10)):
        await tx.execute("update sessions set last_seen_at = %s where id = %s", (now, row["id"]))
    # A session that has to set up a second factor first may nothing, also where a route forgot to say so.
    restricted = row["restricted"] or _lacks_factor(row, now)
    rights = Rights(frozenset()) if restricted else rights_from(row["rights"])
    return Principal(
        "user", row["user_id"], row["organization_id"], rights.permissions,
        name=row["name"],
        project_permissions=rights.project_permissions,
        user_id=row["user_id"],
        session_id=row["id"],
        signed_in_at=row["signed_in_at"],
        restricted=restricted,
    )  # fmt: skip


def _lacks_factor(session: Mapping[str, Any], now: datetime) -> bool:
    """Whether its person has to set up the factor first. Raises: NotSignedIn for one who has it, and didn't show it."""
    if session["factor_from"] is None or session["factor_from"] > now or session["proved"]:
        return False
    if session["has_factor"]:
        raise NotSignedIn(_FACTOR_WANTED)
    return True


def _is_secret_of(row: Mapping[str, Any], sent: bytes, now: datetime) -> bool:
    """The key's secret, or the one before it while their overlap lasts."""
    if hmac.compare_digest(sent, row["secret_hash"]):
        return True
    before = row["previous_hash"]
    return before is not None and hmac.compare_digest(sent, before) and row["previous_until"] > now


def _comes_from(ranges: list[Any] | None, address: str) -> bool:
    if ranges is None:
        return True
    try:
        here = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = here.ipv4_mapped if isinstance(here, ipaddress.IPv6Address) else None
    return any((mapped or here) in each for each in ranges)


async def _note_use(tx: Tx, key: Mapping[str, Any]) -> None:
    last, now = key["last_used_at"], tx.clock.now()
    if last is None or now - last > _USE_PRECISION:
        await tx.execute(
            "update api_keys set last_used_at = %s, last_used_address = %s where id = %s",
            (now, origin().address, key["id"]),
        )
