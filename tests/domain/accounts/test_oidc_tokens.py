"""ID tokens: one that holds passes, whatever is wrong with another is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from domain.accounts.fake_identity_provider import EC_KEY, ED_KEY, KEYS, RSA_KEY
from domain.accounts.forged_tokens import (
    by_hand,
    changed,
    cut,
    token,
    unsigned,
    with_own_key_in_the_header,
    with_public_key_as_secret,
)
from shopfloor.domain.accounts.oidc_tokens import Expected, KeyNotKnown, TokenRefused, read_keys, verified_claims

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
EXPECTED = Expected("https://id.example.org", "shopfloor", "n" * 43)
PUBLIC = {"keys": [key.as_dict(private=False) for key in KEYS.values()]}
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example.org", "aud": "shopfloor", "sub": "248289761001", "nonce": "n" * 43, "iat": NOW_S,
    "exp": NOW_S + 300, "email": "dev@example.org", "email_verified": True, "name": "Dev",
}  # fmt: skip


def check(text: str):
    return verified_claims(text, read_keys(PUBLIC), EXPECTED, NOW)


@pytest.mark.parametrize("alg", KEYS)
def test_a_token_of_each_algorithm_tells_who_it_is(alg: str):
    claims = check(token(CLAIMS, alg))
    assert (claims.issuer, claims.subject) == ("https://id.example.org", "248289761001")
    assert (claims.email, claims.email_verified, claims.name) == ("dev@example.org", True, "Dev")


def without(name: str) -> dict[str, Any]:
    return {each: value for each, value in CLAIMS.items() if each != name}


@pytest.mark.parametrize(
    "claims",
    [
        *(without(name) for name in ("iss", "aud", "sub", "nonce", "iat", "exp")),
        CLAIMS | {"iss": "https://id.example.org/"},
        CLAIMS | {"iss": "https://ID.example.org"},
        CLAIMS | {"iss": ["https://id.example.org"]},
        CLAIMS | {"aud": "another"},
        CLAIMS | {"aud": ["another"]},
        CLAIMS | {"aud": ["shopfloor", "another"]},
        CLAIMS | {"aud": ["shopfloor", "another"], "azp": "another"},
        CLAIMS | {"azp": "another"},
        CLAIMS | {"aud": {"shopfloor": 1}},
        CLAIMS | {"exp": NOW_S - 61},
        CLAIMS | {"exp": str(NOW_S + 300)},
        CLAIMS | {"exp": True},
        CLAIMS | {"exp": None},
        CLAIMS | {"iat": NOW_S - 601},
        CLAIMS | {"iat": NOW_S + 120},
        CLAIMS | {"nbf": NOW_S + 120},
        CLAIMS | {"nonce": "m" * 43},
        CLAIMS | {"nonce": ""},
        CLAIMS | {"nonce": ["n" * 43]},
        CLAIMS | {"sub": ""},
        CLAIMS | {"sub": 7},
        CLAIMS | {"sub": "x" * 256},
    ],
    ids=str,
)
def test_a_token_that_says_something_else_is_refused(claims: dict[str, Any]):
    with pytest.raises(TokenRefused):
        check(token(claims))


@pytest.mark.parametrize(
    "claims",
    [CLAIMS | {"aud": ["shopfloor"]}, CLAIMS | {"aud": ["shopfloor", "another"], "azp": "shopfloor"},
     CLAIMS | {"exp": NOW_S - 59}, CLAIMS | {"iat": NOW_S + 59}],
    ids=str,
)  # fmt: skip
def test_several_audiences_and_a_clock_that_is_a_little_off_are_fine(claims: dict[str, Any]):
    assert check(token(claims)).subject == "248289761001"


ATTACKS: list[Callable[[dict[str, Any]], str]] = [
    unsigned,
    with_public_key_as_secret,
    lambda claims: by_hand({"alg": "NONE", "kid": RSA_KEY.kid}, claims),
    with_own_key_in_the_header,
    cut,
    changed,
    lambda claims: token(claims, jku="https://attacker.example/jwks"),
    lambda claims: token(claims, x5u="https://attacker.example/cert"),
    lambda claims: token(claims, key=RSAKey.generate_key(2048, {"kid": "fake-rsa"})),
    lambda claims: token(claims, key=ECKey.generate_key("P-256", {"kid": "fake-ec"}), alg="ES256"),
    lambda claims: token(claims, kid="../../etc/passwd"),
    lambda claims: token(claims, kid=EC_KEY.kid),  # signed by the one, said to be of the other
    lambda claims: token(claims, alg="EdDSA", key=OKPKey.generate_key("Ed25519", {"kid": ED_KEY.kid})),
    lambda _: "",
    lambda _: "a.b.c",
    lambda _: "." * 20_000,
    lambda claims: token(claims) + ".x",
    lambda claims: token({**claims, "filler": "x" * 20_000}),
    lambda _: jws.serialize_compact({"alg": "RS256", "kid": RSA_KEY.kid}, b"[1]", RSA_KEY),
    lambda _: jws.serialize_compact({"alg": "RS256", "kid": RSA_KEY.kid}, b'{"exp": NaN}', RSA_KEY),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=[str(number) for number in range(len(ATTACKS))])
def test_a_token_that_is_forged_or_broken_is_refused(attack: Callable[[dict[str, Any]], str]):
    assert check(token(CLAIMS)).subject == "248289761001"  # the positive control
    with pytest.raises(TokenRefused):
        check(attack(CLAIMS))


def test_a_token_by_a_key_that_is_not_known_asks_for_the_newest_keys():
    with pytest.raises(KeyNotKnown):
        check(token(CLAIMS, key=RSAKey.generate_key(2048, {"kid": "new"})))


@pytest.mark.parametrize("verified", ["true", 1, "yes", None])
def test_an_address_is_verified_by_true_alone(verified: Any):
    assert check(token(CLAIMS | {"email_verified": verified})).email_verified is False


@pytest.mark.parametrize(
    "jwks",
    [
        None, [], {}, {"keys": None}, {"keys": []}, {"keys": [7, "x", {}]}, {"keys": PUBLIC["keys"] * 22},
        {"keys": [OctKey.generate_key(256).as_dict()]},
        {"keys": [RSAKey.generate_key(1024).as_dict(private=False)]},
        {"keys": [RSA_KEY.as_dict(private=False) | {"use": "enc"}]},
        {"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
    ],
    ids=range(12),  # the keys are made anew in every process
)  # fmt: skip
def test_a_key_set_without_a_key_that_may_sign_is_refused(jwks: Any):
    with pytest.raises(TokenRefused):
        read_keys(jwks)


def test_keys_that_are_none_are_passed_over():
    keys = read_keys({"keys": [OctKey.generate_key(256).as_dict(), {"kty": "future"}, *PUBLIC["keys"]]})
    assert [key.kid for key in keys] == ["fake-rsa", "fake-ec", "fake-ed"]
