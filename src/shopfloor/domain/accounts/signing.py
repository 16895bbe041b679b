"""The keys that sign access tokens: next, active, retired. The private half lies sealed in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from shopfloor.base.ids import new_id
from shopfloor.domain.access.tokens import ALGORITHM, AUDIENCE, REGISTRY, TYPE, issuer_of, jwk_of
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.tx import Store, Tx, begin_system

_KEYS = register_sealed("signing_keys", "sealed_key", id_column="kid")
_LOCK = 0x5F0F_4A57  # one process makes or turns the keys; the number is ours


@dataclass(frozen=True, slots=True)
class _Active:
    kid: str
    home_id: UUID
    private: bytes


async def access_token(store: Store, sealer: Sealer, *, session_id: UUID, user_id: UUID, life_s: int) -> str:
    """A token for a session, good for `life_s` seconds at most: the session is asked for at each request."""
    async with begin_system(store) as tx:
        key = await _active(tx, sealer)
        now = tx.clock.now()
    made_s = int(now.timestamp())
    claims = {
        "iss": issuer_of(key.home_id), "aud": AUDIENCE, "sub": str(user_id), "sid": str(session_id), "iat": made_s,
        "exp": made_s + life_s, "jti": str(new_id()),
    }  # fmt: skip
    public = Ed25519PrivateKey.from_private_bytes(key.private).public_key().public_bytes_raw()
    private = OKPKey.import_key(jwk_of(public) | {"d": urlsafe_b64encode(key.private).decode()})
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}
    return jws.serialize_compact(header, orjson.dumps(claims), private, registry=REGISTRY)


async def rotate_signing_key(store: Store, sealer: Sealer) -> str:
    """The next key signs from the commit on, and there is a new next one; the kid of the one in use now.

    Tokens of the retired key hold until they end by themselves: ten minutes at most. Its private half is gone.
    """
    async with begin_system(store) as tx:
        await tx.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        before = await _active(tx, sealer)
        await tx.execute(
            "update signing_keys set state = 'retired', retired_at = %s, sealed_key = null where kid = %s",
            (tx.clock.now(), before.kid),
        )
        row = await tx.one(
            "update signing_keys set state = 'active' where kid = "
            "(select kid from signing_keys where state = 'next' order by created_at limit 1) returning kid"
        )
        kid = str(row["kid"] if row else await _add(tx, sealer, before.home_id, "active"))
        await _add(tx, sealer, before.home_id, "next")
        await tx.execute(
            "delete from signing_keys where state = 'retired' and retired_at < %s",
            (tx.clock.now() - timedelta(days=30),),
        )
        await tx.record(
            "signing-key.rotated", "signing-key", kid,
            before={"kid": before.kid}, after={"kid": kid}, organization_id=before.home_id,
        )  # fmt: skip
    return kid


async def _active(tx: Tx, sealer: Sealer) -> _Active:
    """The key that signs; the first ones are made when they are first needed."""
    row = await _read(tx)
    if row is None:
        await tx.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        row = await _read(tx)
    if row is None:
        home = await tx.one("select id from organizations order by created_at, id limit 1")
        assert home is not None, "somebody signs in, so there is an organization"
        await _add(tx, sealer, home["id"], "active")
        await _add(tx, sealer, home["id"], "next")
        row = await _read(tx)
    assert row is not None
    return _Active(str(row["kid"]), row["organization_id"], await _opened(tx, sealer, row))


async def _read(tx: Tx) -> dict[str, Any] | None:
    return await tx.one(
        "select kid, organization_id, sealed_key from signing_keys where state = 'active'",
    )


async def _add(tx: Tx, sealer: Sealer, home_id: UUID, state: str) -> UUID:
    private, kid = Ed25519PrivateKey.generate(), new_id()
    await tx.execute(
        "insert into signing_keys (kid, organization_id, state, public_key, sealed_key, created_at) "
        "values (%s, %s, %s, %s, %s, %s)",
        (
            kid, home_id, state, private.public_key().public_bytes_raw(),
            await _sealed(tx, sealer, home_id, kid, private.private_bytes_raw()), tx.clock.now(),
        ),
    )  # fmt: skip
    return kid


async def _sealed(tx: Tx, sealer: Sealer, home_id: UUID, kid: UUID, private: bytes) -> bytes:
    return await sealer.seal(tx, home_id, _KEYS.place(kid), urlsafe_b64encode(private).decode())


async def _opened(tx: Tx, sealer: Sealer, row: dict[str, Any]) -> bytes:
    opened = await sealer.open(tx, row["organization_id"], _KEYS.place(row["kid"]), row["sealed_key"])
    return urlsafe_b64decode(opened.encode())
