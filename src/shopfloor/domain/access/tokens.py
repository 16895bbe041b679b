"""Access tokens: EdDSA JWTs that say which session asks, checked against a ring of keys of our own.

Sources: RFC 9068 (`at+jwt`), RFC 8725 (one algorithm, no key from the token), RFC 8037 (Ed25519 in JOSE).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSAlgModel, JWSRegistry
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import parse_id
from shopfloor.infra.tx import Store, begin_system
from shopfloor.infra.web.json_body import read_json

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
AUDIENCE: Final = "shopfloor-api"
LONGEST_LIFE: Final = timedelta(minutes=10)
MAX_TOKEN_CHARS = 2_048
_SKEW = timedelta(seconds=30)  # between clocks of our own processes
_RELOAD_S = 60.0
_UNKNOWN_RELOAD_S = 2.0  # for a kid that isn't known: a new key is found soon, and made-up ones cost one query a time
_HEADER: Final = frozenset({"alg", "typ", "kid"})  # jku, x5u, jwk, crit and whatever else: not ours, not read
_KID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_REQUIRED: Final = ("iss", "aud", "sub", "sid", "iat", "exp", "jti")


class _OneAlgorithm(JWSRegistry):
    """A list of one. RFC 9864 calls it `Ed25519` from now on; verifiers in use know it as `EdDSA`."""

    def get_alg(self, name: str) -> JWSAlgModel:
        """Raises: UnsupportedAlgorithmError for every other."""
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(name)
        return JWSRegistry.algorithms[ALGORITHM]


REGISTRY: Final = _OneAlgorithm()


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says."""

    session_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key whose tokens are taken."""

    kid: str
    public_key: bytes  # 32 bytes
    verifier: OKPKey  # the same, made once: it costs more than a check
    issuer: str
    retired_at: datetime | None


class KeyRing:
    """The public keys of this installation, as this process last read them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, RingKey] = {}
        self._read_s = float("-inf")

    async def key(self, kid: str) -> RingKey | None:
        """The key of this name, if its tokens may still be taken."""
        age_s = self._store.services.clock.monotonic() - self._read_s
        if age_s > _RELOAD_S or (kid not in self._keys and age_s > _UNKNOWN_RELOAD_S):
            await self.reload()
        return self._keys.get(kid)

    async def keys(self) -> list[RingKey]:
        """Those for JWKS: in use, next in use, and retired a moment ago."""
        await self.reload()
        return list(self._keys.values())

    async def reload(self) -> None:
        """Read them anew."""
        async with begin_system(self._store) as tx:
            rows = await tx.all(
                "select kid, organization_id, public_key, retired_at from signing_keys "
                "where retired_at is null or retired_at > %s order by created_at limit 100",
                (tx.clock.now() - LONGEST_LIFE - _SKEW,),
            )
        self._keys = {
            row["kid"]: RingKey(
                row["kid"],
                bytes(row["public_key"]),
                OKPKey.import_key(jwk_of(bytes(row["public_key"]))),
                issuer_of(row["organization_id"]),
                row["retired_at"],
            )
            for row in rows
        }
        self._read_s = self._store.services.clock.monotonic()


def jwk_of(public_key: bytes) -> dict[str, str | list[str]]:
    """The public key as JOSE writes it. Source: RFC 8037, section 2."""
    return {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(public_key).decode()}


def issuer_of(home_id: UUID) -> str:
    """How an installation calls itself: by its first organization, so that two never share a name."""
    return f"urn:shopfloor:{home_id}"


async def read_token(ring: KeyRing, text: str, now: datetime) -> Claims | None:
    """What `text` says, if one of our keys signed it for us and it holds now; None whatever is wrong with it."""
    kid = _kid(text)
    key = await ring.key(kid) if kid is not None else None
    payload = _verified(text, key) if key is not None else None
    if key is None or payload is None:
        return None
    return _claims(payload, key, now)


def _kid(text: str) -> str | None:
    """The key's name, from a header that is exactly as ours are."""
    if len(text) > MAX_TOKEN_CHARS or not text.isascii() or text.count(".") != 2:  # noqa: PLR2004 - RFC 7515, 3.1
        return None
    header = _object(text.partition(".")[0])
    if header is None or header.keys() != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        return None
    kid = header["kid"]
    return kid if isinstance(kid, str) and _KID.fullmatch(kid) else None


def _verified(text: str, key: RingKey) -> bytes | None:
    try:
        return jws.deserialize_compact(text, key.verifier, registry=REGISTRY).payload
    except (JoseError, ValueError):
        return None


def _claims(payload: bytes, key: RingKey, now: datetime) -> Claims | None:
    try:
        said = read_json(payload)
    except ShopfloorError:
        return None
    if not isinstance(said, dict):
        return None
    claims = cast("dict[str, Any]", said)
    if any(name not in claims for name in _REQUIRED):
        return None
    if claims["iss"] != key.issuer or claims["aud"] != AUDIENCE or not _holds(claims, key, now):
        return None
    session_id, user_id = _id(claims["sid"]), _id(claims["sub"])
    if session_id is None or user_id is None or not _id(claims["jti"]):
        return None
    return Claims(session_id, user_id)


def _holds(claims: dict[str, Any], key: RingKey, now: datetime) -> bool:
    """Whether its times are those of a token of ours that is in force. A retired key signs nothing new."""
    times = [claims["iat"], claims["exp"], claims.get("nbf", claims["iat"])]
    if any(type(each) is not int for each in times):
        return False
    made_s, ends_s, from_s = times
    now_s, skew_s = now.timestamp(), _SKEW.total_seconds()
    if key.retired_at is not None and made_s > key.retired_at.timestamp() + skew_s:
        return False
    if not 0 < ends_s - made_s <= LONGEST_LIFE.total_seconds():
        return False
    return max(made_s, from_s) <= now_s + skew_s and now_s < ends_s


def _object(segment: str) -> dict[str, Any] | None:
    try:
        value = read_json(urlsafe_b64decode(segment.encode()))
    except (ValueError, ShopfloorError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _id(value: Any) -> UUID | None:
    return parse_id(value) if isinstance(value, str) else None
