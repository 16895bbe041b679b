"""ID tokens as a provider signs them, and as an attacker makes them."""

from __future__ import annotations

import hmac
import json
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from domain.accounts.fake_identity_provider import ALLOW, KEYS, RSA_KEY
from domain.accounts.software_authenticator import b64


def token(claims: dict[str, Any], alg: str = "RS256", key: Any = None, **header: Any) -> str:
    key = key or KEYS[alg]
    return jwt.encode({"alg": alg, "kid": key.kid} | header, claims, key, algorithms=ALLOW)


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """What a library would not make."""
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256')) if secret else ''}"


def unsigned(claims: dict[str, Any]) -> str:
    return by_hand({"alg": "none"}, claims)


def with_public_key_as_secret(claims: dict[str, Any]) -> str:
    return by_hand({"alg": "HS256", "kid": RSA_KEY.kid}, claims, RSA_KEY.as_pem(private=False))


def with_own_key_in_the_header(claims: dict[str, Any]) -> str:
    own = RSAKey.generate_key(2048, {"kid": "own"})
    return token(claims, key=own, jwk=own.as_dict(private=False), kid=RSA_KEY.kid)


def cut(claims: dict[str, Any]) -> str:
    return token(claims).rpartition(".")[0] + "."


def changed(claims: dict[str, Any]) -> str:
    head, _, signature = token(claims).split(".")
    return f"{head}.{b64(json.dumps(claims | {'sub': '1'}).encode())}.{signature}"
