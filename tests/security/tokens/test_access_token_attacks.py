"""Forged and bent access tokens: each is refused, and beside it a good one passes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shopfloor.domain.access.tokens import AUDIENCE
from shopfloor.domain.accounts import signing
from shopfloor.infra.tx import begin_system
from signed_in import PASSWORD, Ground

pytestmark = pytest.mark.asyncio(loop_scope="module")

Part = dict[str, Any]
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@dataclass(frozen=True)
class At:
    """A second, counted from when the token is made: the machine may be slow."""

    offset_s: int
    written: Callable[[int], Any] = int

    def now(self) -> Any:
        return self.written(int(time.time()) + self.offset_s)


@dataclass
class Forge:
    """A session of somebody, and the installation's own key: an attacker has less."""

    here: Ground
    private: Ed25519PrivateKey
    kid: str
    claims: Part
    good: str

    def token(
        self, header: Part | None = None, claims: Part | None = None, *, key: Ed25519PrivateKey | None = None
    ) -> str:
        """Signed by us unless `key` says otherwise; what is given as `...` is left out."""
        head = _bent({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid}, header)
        body = _bent(self.claims | {"iat": At(0), "exp": At(300)}, claims)
        return signed((key or self.private).sign, _json(head), _json(body))

    async def status(self, token: str) -> int:
        answer = await self.here.browsers.new().get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forge(here: Ground) -> Forge:
    email = await here.people.email(await here.people.new())
    body = {"email": email, "password": PASSWORD, "kind": "token"}
    session = (await here.browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]
    async with begin_system(here.store) as tx:
        active = await signing._active(tx, here.desk.sealer)
    token = session["access_token"]
    claims = json.loads(_unb64(token.split(".")[1]))
    return Forge(here, Ed25519PrivateKey.from_private_bytes(active.private), active.kid, claims, token)


HEADERS: dict[str, Part] = {
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "alg NONE": {"alg": "NONE"},
    "alg empty": {"alg": ""},
    "alg missing": {"alg": ...},
    "alg a list": {"alg": ["EdDSA"]},
    "alg null": {"alg": None},
    "alg Ed25519": {"alg": "Ed25519"},
    "alg ES256": {"alg": "ES256"},
    "alg RS256": {"alg": "RS256"},
    "alg HS256": {"alg": "HS256"},
    "typ missing": {"typ": ...},
    "typ JWT": {"typ": "JWT"},
    "typ of an id token": {"typ": "id+jwt"},
    "typ upper case": {"typ": "AT+JWT"},
    "kid missing": {"kid": ...},
    "kid unknown": {"kid": "AAAAAAAAAAAAAAAAAAAAAA"},
    "kid empty": {"kid": ""},
    "kid a path": {"kid": "../../../../dev/null"},
    "kid an absolute path": {"kid": "/proc/self/environ"},
    "kid SQL": {"kid": "' union select 'x', null, null, null --"},
    "kid SQL or": {"kid": "x' or '1'='1"},
    "kid a URL": {"kid": "https://attacker.example/key.json"},
    "kid a number": {"kid": 0},
    "kid null": {"kid": None},
    "kid a list": {"kid": ["a"]},
    "kid with NUL": {"kid": "AAAAAAAA\x00"},
    "kid huge": {"kid": "A" * 1500},
    "jku": {"jku": "https://attacker.example/jwks.json"},
    "x5u": {"x5u": "https://attacker.example/cert.pem"},
    "x5c": {"x5c": ["AAAA"]},
    "x5t": {"x5t": "AAAA"},
    "jwk of the attacker": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}},
    "crit": {"crit": ["exp"]},
    "b64 false": {"b64": False, "crit": ["b64"]},
    "zip": {"zip": "DEF"},
    "cty nested": {"cty": "JWT"},
}

CLAIMS: dict[str, Part] = {
    "exp missing": {"exp": ...},
    "iat missing": {"iat": ...},
    "sid missing": {"sid": ...},
    "sub missing": {"sub": ...},
    "jti missing": {"jti": ...},
    "iss missing": {"iss": ...},
    "aud missing": {"aud": ...},
    "iss another installation": {"iss": f"urn:shopfloor:{uuid4()}"},
    "iss empty": {"iss": ""},
    "iss a list": {"iss": ["urn:shopfloor"]},
    "aud another": {"aud": "another-api"},
    "aud a list with ours": {"aud": [AUDIENCE, "another-api"]},
    "aud empty": {"aud": ""},
    "expired": {"iat": At(-700), "exp": At(-100)},
    "expired a second ago": {"iat": At(-300), "exp": At(-1)},
    "good for too long": {"exp": At(86_400)},
    "good for ever": {"exp": 2**53},
    "exp a text": {"exp": At(300, str)},
    "exp a fraction": {"exp": At(300, lambda second: second + 0.5)},
    "exp true": {"exp": True},
    "exp null": {"exp": None},
    "exp before iat": {"iat": At(0), "exp": At(-10)},
    "exp beyond 64 bits": {"exp": 2**70},
    "iat in the future": {"iat": At(300), "exp": At(500)},
    "iat a text": {"iat": At(0, str)},
    "nbf in the future": {"nbf": At(300)},
    "nbf a text": {"nbf": "soon"},
    "sid another's": {"sid": str(uuid4())},
    "sid SQL": {"sid": "' or 1=1 --"},
    "sid a number": {"sid": 1},
    "sub another's": {"sub": str(uuid4())},
    "sub empty": {"sub": ""},
    "jti empty": {"jti": ""},
}


async def test_a_good_token_passes(forge: Forge):
    """The positive control: made with the same tools as the forged ones."""
    assert await forge.status(forge.good) == 200
    assert await forge.status(forge.token()) == 200
    assert await forge.status(forge.token(claims={"nbf": At(-5)})) == 200


@pytest.mark.parametrize("name", HEADERS)
async def test_a_header_that_is_not_ours_is_refused(forge: Forge, name: str):
    assert await forge.status(forge.token(HEADERS[name])) == 401


@pytest.mark.parametrize("name", CLAIMS)
async def test_claims_that_do_not_hold_are_refused_however_well_signed(forge: Forge, name: str):
    assert await forge.status(forge.token(claims=CLAIMS[name])) == 401


async def test_a_session_opens_for_its_own_person_alone(here: Ground, forge: Forge):
    body = {"email": await here.people.email(await here.people.new()), "password": PASSWORD, "kind": "token"}
    theirs = (await here.browsers.new().post("/api/v1/auth/sign-in", json=body)).json()["session"]
    assert await forge.status(forge.token(claims={"sid": theirs["id"]})) == 401
    assert await forge.status(forge.token(claims={"sub": theirs["user_id"]})) == 401
    assert await forge.status(forge.token(claims={"sid": theirs["id"], "sub": theirs["user_id"]})) == 200


def _unsigned(forge: Forge) -> str:
    head, body, _ = forge.token({"alg": "none"}).split(".")
    return f"{head}.{body}."


def _hmac_with_the_public_key(forge: Forge) -> str:
    public = forge.private.public_key().public_bytes_raw()
    head = _json({"alg": "HS256", "typ": "at+jwt", "kid": forge.kid})
    return signed(lambda text: hmac.new(public, text, hashlib.sha256).digest(), head, _json(forge.claims))


def _hmac_under_our_alg(forge: Forge) -> str:
    public = forge.private.public_key().public_bytes_raw()
    head = _json({"alg": "EdDSA", "typ": "at+jwt", "kid": forge.kid})
    return signed(lambda text: hmac.new(public, text, hashlib.sha512).digest(), head, _json(forge.claims))


def _own_jwk(forge: Forge) -> str:
    x = _b64(FOREIGN.public_key().public_bytes_raw())
    return forge.token({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}, key=FOREIGN)


def _tampered(forge: Forge) -> str:
    head, _, signature = forge.good.split(".")
    return f"{head}.{_b64(_json(forge.claims | {'sub': str(uuid4())}))}.{signature}"


def _twice(forge: Forge) -> str:
    body = _json(forge.claims)[:-1] + b',"sub":"' + str(uuid4()).encode() + b'"}'
    head = _json({"alg": "EdDSA", "typ": "at+jwt", "kid": forge.kid})
    return signed(forge.private.sign, head, body)


def _twice_in_the_header(forge: Forge) -> str:
    head = b'{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"' + forge.kid.encode() + b'"}'
    return signed(forge.private.sign, head, _json(forge.claims))


SHAPES: dict[str, Callable[[Forge], str]] = {
    "unsigned": _unsigned,
    "signature cut off": lambda forge: forge.good.rpartition(".")[0] + ".",
    "signature missing": lambda forge: forge.good.rpartition(".")[0],
    "signature of another token": lambda forge: (
        forge.good.rpartition(".")[0] + "." + forge.token(claims={"jti": str(uuid4())}).split(".")[2]
    ),
    "signature of zeros": lambda forge: forge.good.rpartition(".")[0] + "." + "A" * 86,
    "signature cut short": lambda forge: forge.good[:-4],
    "HS256 with the public key": _hmac_with_the_public_key,
    "HMAC under our algorithm's name": _hmac_under_our_alg,
    "another installation's key": lambda forge: forge.token(key=FOREIGN),
    "the attacker's own key in the token": _own_jwk,
    "payload changed": _tampered,
    "a claim twice": _twice,
    "a header name twice": _twice_in_the_header,
    "payload a list": lambda forge: signed(forge.private.sign, _json(_header(forge)), b"[]"),
    "payload a text": lambda forge: signed(forge.private.sign, _json(_header(forge)), b'"x"'),
    "payload not JSON": lambda forge: signed(forge.private.sign, _json(_header(forge)), b"\xff\xfe"),
    "payload empty": lambda forge: signed(forge.private.sign, _json(_header(forge)), b""),
    "payload with NaN": lambda forge: signed(forge.private.sign, _json(_header(forge)), b'{"exp": NaN}'),
    "header a list": lambda forge: signed(forge.private.sign, b"[]", _json(forge.claims)),
    "header not base64": lambda forge: "eyJ*." + forge.good.partition(".")[2],
    "padding": lambda forge: forge.good.replace(".", "=.", 1),
    "JSON serialisation": lambda forge: "eyJ" + json.dumps({"payload": forge.good}),
    "five parts, as if encrypted": lambda forge: forge.good + ".AAAA.AAAA",
    "dots alone": lambda forge: forge.good[:3] + "..",
    "huge": lambda forge: forge.token(claims={"filler": "x" * 20_000}),
    "a space inside": lambda forge: forge.good.replace(".", ". ", 1),
    "another script's letters": lambda forge: "eyJ\u0430".encode("utf-8").decode("latin-1") + forge.good[4:],
}


@pytest.mark.parametrize("name", SHAPES)
async def test_a_token_of_another_make_is_refused(forge: Forge, name: str):
    token = SHAPES[name](forge)
    raw = token.encode("latin-1")
    answer = await forge.here.browsers.new().get("/api/v1/me", headers={"Authorization": b"Bearer " + raw})
    assert answer.status_code == 401


async def test_a_token_of_a_retired_key_holds_until_it_ends_and_the_key_signs_nothing_new(here: Ground, forge: Forge):
    before = forge.token()
    kid = await signing.rotate_signing_key(here.store, here.desk.sealer)
    assert kid != forge.kid
    assert await forge.status(before) == 200
    async with begin_system(here.store) as tx:
        await tx.execute(
            "update signing_keys set retired_at = now() - interval '5 minutes' where kid = %s", (forge.kid,)
        )
    await here.app.state.shopfloor.ring.reload()
    assert await forge.status(before) == 401  # made after the key was retired
    late = {"iat": At(-400), "exp": At(100)}
    assert await forge.status(forge.token(claims=late)) == 200
    async with begin_system(here.store) as tx:
        await tx.execute("update signing_keys set retired_at = now() - interval '1 hour' where kid = %s", (forge.kid,))
        row = await tx.one("select sealed_key from signing_keys where kid = %s", (forge.kid,))
    assert row == {"sealed_key": None}
    await here.app.state.shopfloor.ring.reload()
    assert await forge.status(forge.token(claims=late)) == 401
    keys = (await here.browsers.new().get("/.well-known/jwks.json")).json()["keys"]
    assert forge.kid not in {key["kid"] for key in keys}
    assert all("d" not in key for key in keys)


def signed(sign: Callable[[bytes], bytes], head: bytes, body: bytes) -> str:
    text = f"{_b64(head)}.{_b64(body)}"
    return f"{text}.{_b64(sign(text.encode()))}"


def _cut(token: str) -> str:
    return token.rpartition(".")[0]


def _header(forge: Forge) -> Part:
    return {"alg": "EdDSA", "typ": "at+jwt", "kid": forge.kid}


def _bent(part: Part, change: Part | None) -> Part:
    both = (part | (change or {})).items()
    return {name: value.now() if isinstance(value, At) else value for name, value in both if value is not ...}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
