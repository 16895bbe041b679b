"""A fake OpenID Connect provider on loopback, as strict as the standards ask: it takes nothing that isn't right.

It checks redirect_uri to the letter, PKCE, client authentication and that a code is used once; what it answers can be
changed, for what a bad provider or somebody in between would send. Source: OpenID Connect Core 1.0, RFC 6749, RFC 7636.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

Claims = dict[str, Any]
RSA_KEY = RSAKey.generate_key(2048, {"kid": "fake-rsa", "use": "sig"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "fake-ec", "use": "sig"})
ED_KEY = OKPKey.generate_key("Ed25519", {"kid": "fake-ed", "use": "sig"})
KEYS: dict[str, Key] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}
PERSON: Claims = {"sub": "248289761001", "email": "dev@example.org", "email_verified": True, "name": "Dev"}
ALLOW = ["RS256", "ES256", "EdDSA", "HS256", "none"]


@dataclass
class Code:
    redirect_uri: str
    challenge: str
    nonce: str
    used: bool = False


@dataclass
class FakeIdentityProvider:
    client_id: str = "shopfloor"
    client_secret: str = "fake-client-secret-0123"
    redirect_uris: set[str] = field(default_factory=set)
    algorithm: str = "RS256"
    answers_with_issuer: bool = True
    person: Claims = field(
        default_factory=lambda: {
            "sub": "248289761001",
            "email": "dev@example.org",
            "email_verified": True,
            "name": "Dev",
        }
    )
    change_claims: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[FakeIdentityProvider, Claims], str] | None = None  # in place of the honest signature
    change_description: Callable[[Claims], Claims] = lambda description: description
    jwks: bytes | None = None  # in place of the honest key set
    token_answer: tuple[int, bytes] | None = None
    hold: threading.Event = field(default_factory=threading.Event)  # set: answers flow
    slow: set[str] = field(default_factory=set)  # paths that wait for `hold`
    asked: list[str] = field(default_factory=list)  # the path of every request
    complaints: list[str] = field(default_factory=list)  # why something was refused
    codes: dict[str, Code] = field(default_factory=dict)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def description(self) -> Claims:
        return self.change_description(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": self.answers_with_issuer,
            }
        )

    def key_set(self) -> bytes:
        return self.jwks or json.dumps(KeySet(list(KEYS.values())).as_dict(private=False)).encode()

    def authorize(self, query: list[tuple[str, str]]) -> tuple[int, str]:
        """The person is signed in here already and agrees: a code, or why not."""
        asked = dict(query)
        wrong = [
            why
            for why, bad in {
                "a parameter stands twice": len(asked) != len(query),
                "client_id": asked.get("client_id") != self.client_id,
                "redirect_uri": asked.get("redirect_uri") not in self.redirect_uris,
                "response_type": asked.get("response_type") != "code",
                "scope": "openid" not in asked.get("scope", "").split(" "),
                "state": len(asked.get("state", "")) < 22,
                "nonce": len(asked.get("nonce", "")) < 22,
                "code_challenge": len(asked.get("code_challenge", "")) != 43,
                "code_challenge_method": asked.get("code_challenge_method") != "S256",
            }.items()
            if bad
        ]
        if wrong:
            self.complaints += wrong
            return 400, ", ".join(wrong)
        code = secrets.token_urlsafe(24)
        self.codes[code] = Code(asked["redirect_uri"], asked["code_challenge"], asked["nonce"])
        answer = {"code": code, "state": asked["state"]}
        if self.answers_with_issuer:
            answer["iss"] = self.issuer
        return 302, f"{asked['redirect_uri']}?{urlencode(answer)}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, bytes]:
        if self.token_answer is not None:
            return self.token_answer
        if self._client(form, authorization) != (self.client_id, self.client_secret):
            return self._refuse(401, "invalid_client")
        code = self.codes.get(form.get("code", ""))
        if form.get("grant_type") != "authorization_code" or code is None or code.used:
            return self._refuse(400, "invalid_grant")
        code.used = True
        made = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if code.redirect_uri != form.get("redirect_uri") or made.decode().rstrip("=") != code.challenge:
            return self._refuse(400, "invalid_grant")
        now = int(time.time())
        claims = self.change_claims({
            "iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": code.nonce, **self.person,
        })  # fmt: skip
        token = (self.sign or honest)(self, claims)
        answer = {"access_token": "fake-access-token", "token_type": "Bearer", "expires_in": 300, "id_token": token}
        return 200, json.dumps(answer).encode()

    def _refuse(self, status: int, error: str) -> tuple[int, bytes]:
        self.complaints.append(error)
        return status, json.dumps({"error": error}).encode()

    def _client(self, form: dict[str, str], authorization: str) -> tuple[str, str]:
        """In the way that the description names, and in no other."""
        if self.description()["token_endpoint_auth_methods_supported"] == ["client_secret_post"]:
            return ("", "") if authorization else (form.get("client_id", ""), form.get("client_secret", ""))
        if "client_secret" in form:
            return "", ""
        scheme, _, text = authorization.partition(" ")
        user, _, password = base64.b64decode(text).decode().partition(":") if scheme == "Basic" else ("", "", "")
        return unquote_plus(user), unquote_plus(password)


def honest(provider: FakeIdentityProvider, claims: Claims) -> str:
    key = KEYS[provider.algorithm]
    return jwt.encode({"alg": provider.algorithm, "kid": key.kid}, claims, key, algorithms=ALLOW)


class _Handler(BaseHTTPRequestHandler):
    provider: FakeIdentityProvider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._begin(url.path)
        match url.path:
            case "/.well-known/openid-configuration":
                self._answer(200, json.dumps(self.provider.description()).encode())
            case "/jwks":
                self._answer(200, self.provider.key_set())
            case "/authorize":
                status, text = self.provider.authorize(parse_qsl(url.query))
                self._answer(status, text.encode(), location=text if status == 302 else None)
            case _:
                self._answer(404, b"{}")

    def do_POST(self) -> None:
        self._begin(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        status, answer = self.provider.exchange(dict(parse_qsl(body)), self.headers.get("Authorization", ""))
        self._answer(status, answer)

    def log_message(self, *args: Any) -> None:
        pass

    def _begin(self, path: str) -> None:
        self.provider.asked.append(path)
        if path in self.provider.slow:
            self.provider.hold.wait(30)

    def _answer(self, status: int, body: bytes, *, location: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if location is not None:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)
