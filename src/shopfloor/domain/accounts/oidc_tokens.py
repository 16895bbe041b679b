"""Whether an ID token holds. Source: OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725 (JWT best practices)."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from joserfc.registry import Header

# Signatures only, by key pairs only: with `none` there is no proof, and with HS256 a public key would be the secret.
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
MOST_KEYS: Final = 64
MOST_TOKEN_CHARS: Final = 16_384
_SKEW_S: Final = 60  # between two clocks
_OLDEST_S: Final = 600  # since the token was made: it was asked for a moment ago
_LONGEST_TEXT: Final = 255  # of `sub`: OpenID Connect Core, section 2
_LEAST_RSA_BITS: Final = 2048  # RFC 7518, section 3.3
_NAMES_A_KEY: Final = {"jku", "jwk", "x5u", "x5c"}  # a token doesn't choose the key it is checked with: RFC 8725, 3.10


class TokenRefused(Exception):
    """Why, for the log. Whoever sent the token is not told."""


class KeyNotKnown(TokenRefused):
    """None of the keys at hand made it: the provider may have new ones."""


class _Allowed(jws.JWSRegistry):
    """Our list. RFC 9864 calls EdDSA `Ed25519` from now on; providers go on calling it EdDSA."""

    def get_alg(self, name: str) -> jws.JWSAlgModel:
        """Raises: UnsupportedAlgorithmError for every other."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(name)
        return jws.JWSRegistry.algorithms[name]


_REGISTRY: Final = _Allowed()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token has to say."""

    issuer: str
    client_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What the provider says of a person."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool  # exactly true: no text that looks like it
    name: str | None
    methods: tuple[str, ...]  # RFC 8176


def read_keys(jwks: Any) -> list[Key]:
    """The signing keys of a JWK set; what isn't one, or is too weak, is passed over. Raises: TokenRefused."""
    found: Any = cast("dict[str, Any]", jwks).get("keys") if isinstance(jwks, dict) else None
    if not isinstance(found, list) or len(cast("list[Any]", found)) > MOST_KEYS:
        raise TokenRefused(f"the key set is no list of {MOST_KEYS} keys at most")
    keys = [key for each in cast("list[Any]", found) if (key := _key(each)) is not None]
    if not keys:
        raise TokenRefused("the key set holds no key that may sign")
    return keys


def verified_claims(token: str, keys: Sequence[Key], expected: Expected, now: datetime) -> Claims:
    """What `token` says. Raises: KeyNotKnown; TokenRefused for everything else that does not hold."""
    claims = _signed_claims(token, keys)
    _check_audience(claims, expected)
    _check_times(claims, now.timestamp())
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise TokenRefused("the nonce is not the one that was sent")
    email, name, methods = claims.get("email"), claims.get("name"), claims.get("amr")
    return Claims(
        issuer=expected.issuer,
        subject=_subject(claims),
        email=email if isinstance(email, str) else None,
        email_verified=claims.get("email_verified") is True,
        name=name if isinstance(name, str) else None,
        methods=tuple(str(each) for each in cast("list[Any]", methods)) if isinstance(methods, list) else (),
    )


def _signed_claims(token: str, keys: Sequence[Key]) -> dict[str, Any]:
    if len(token) > MOST_TOKEN_CHARS:
        raise TokenRefused("the token is too long")
    try:
        header = jws.extract_compact(token.encode()).headers()
        key = _key_for(header, keys)
        body = jws.deserialize_compact(token, key, registry=_REGISTRY).payload
        claims: Any = json.loads(body or b"", parse_constant=_no_constant)
    except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TokenRefused(f"the token does not hold: {type(error).__name__}: {error}") from error
    if not isinstance(claims, dict):
        raise TokenRefused("the token's claims are no object")
    return cast("dict[str, Any]", claims)


def _key_for(header: Header, keys: Sequence[Key]) -> Key:
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise TokenRefused(f"the algorithm {algorithm!r} is not allowed")
    if _NAMES_A_KEY & set(header) or "crit" in header or "b64" in header:
        raise TokenRefused("the token's header names a key or asks for what is not known")
    fits = [key for key in keys if _fits(key, str(algorithm))]
    if header.get("kid") is not None:
        fits = [key for key in fits if key.kid == header["kid"]]
    if len(fits) != 1:
        raise KeyNotKnown(f"{len(fits)} keys of the provider fit the token's header")
    return fits[0]


def _fits(key: Key, algorithm: str) -> bool:
    if key.alg is not None and key.alg != algorithm:
        return False
    match algorithm[:2]:
        case "RS" | "PS":
            return isinstance(key, RSAKey)
        case "ES":
            return isinstance(key, ECKey)
        case _:
            return isinstance(key, OKPKey)


def _key(each: Any) -> Key | None:
    """One entry of a key set, its public half alone."""
    if not isinstance(each, dict):
        return None
    entry = cast("dict[str, Any]", each)
    if entry.get("kty") not in {"RSA", "EC", "OKP"} or entry.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(entry)
        if isinstance(key, RSAKey) and key.public_key.key_size < _LEAST_RSA_BITS:
            return None
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return key


def _check_audience(claims: dict[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise TokenRefused("the issuer is another")
    audience: Any = claims.get("aud")
    audiences = cast("list[Any]", audience) if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        raise TokenRefused("the token is for another client")
    authorized = claims.get("azp")
    if (len(audiences) > 1 or authorized is not None) and authorized != expected.client_id:
        raise TokenRefused("the token was made for another client (azp)")


def _check_times(claims: dict[str, Any], now_s: float) -> None:
    ends_s, made_s = _seconds(claims, "exp"), _seconds(claims, "iat")
    if ends_s <= now_s - _SKEW_S:
        raise TokenRefused("the token is over")
    if not now_s - _OLDEST_S <= made_s <= now_s + _SKEW_S:
        raise TokenRefused("the token was made too long ago, or in the future")
    if "nbf" in claims and _seconds(claims, "nbf") > now_s + _SKEW_S:
        raise TokenRefused("the token does not hold yet")


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(f"the token has no {name}")
    return float(value)


def _subject(claims: dict[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_TEXT:
        raise TokenRefused("the token names no subject")
    return subject


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
