"""A fake of HashiCorp Vault's HTTP API on loopback, strict about what it documents. Not a Vault: nothing is kept safe.

It has AppRole and Kubernetes sign-in, tokens with a life, a longest life and a policy, the KV engine version 2 and the
transit engine with batches. Every call needs a live token that the policy lets pass. Unknown fields are refused, which
the real one ignores.
Source: Vault's HTTP API documentation: auth/approle, auth/kubernetes, auth/token, secret/kv/kv-v2, secret/transit,
system/health.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import secrets
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Json = dict[str, Any]
Answer = tuple[int, Json | None]
_CAPABILITIES = {"GET": "read", "POST": "update", "PUT": "update", "DELETE": "delete"}
_NONCE_BYTES = 12

DENIED: Answer = (403, {"errors": ["permission denied"]})
NOT_FOUND: Answer = (404, {"errors": []})

# What docs/how-to/secrets.md tells people to allow.
TRANSIT_POLICY = {
    "transit/keys/shopfloor": {"read"},
    "transit/keys/shopfloor/rotate": {"update"},
    "transit/encrypt/shopfloor": {"update"},
    "transit/decrypt/shopfloor": {"update"},
}
KV_POLICY = {"secret/data/shopfloor": {"read", "update"}}


@dataclass
class Token:
    """A signed-in client."""

    policy: Mapping[str, set[str]]
    ends_at: float  # on the fake's own clock
    longest_until: float
    ttl_s: int


@dataclass
class FakeVault:
    """What the server knows. Tests turn its knobs: `now`, `sealed`, `policy`, `silent`."""

    policy: Mapping[str, set[str]] = field(default_factory=lambda: TRANSIT_POLICY | KV_POLICY)
    role_id: str = "visibly-fake-role-id"
    secret_id: str = "visibly-fake-secret-id"  # noqa: S105 - fake
    kubernetes_role: str = "shopfloor"
    jwt: str = "visibly-fake-service-account-token"
    ttl_s: int = 60
    longest_s: int = 180
    now: float = 0.0
    sealed: bool = False
    silent: threading.Event | None = None  # set: requests hang until it is set
    address: str = ""
    tokens: dict[str, Token] = field(default_factory=dict[str, Token])
    kv: dict[str, list[Json | None]] = field(default_factory=dict[str, "list[Json | None]"])  # None: deleted version
    transit: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    asked: list[str] = field(default_factory=list[str])  # method and path of every request
    shown: set[str] = field(default_factory=set[str])  # every token that came

    def new_token(self) -> str:
        """A token that the present policy limits."""
        text = f"hvs.visiblyfake{secrets.token_hex(12)}"
        self.tokens[text] = Token(self.policy, self.now + self.ttl_s, self.now + self.longest_s, self.ttl_s)
        return text

    def answer(self, method: str, target: str, token: str | None, body: Json) -> Answer:
        """What the server says."""
        url = urlsplit(target)
        path = url.path.removeprefix("/v1/")
        self.asked.append(f"{method} {path}")
        self.shown |= {token} if token else set()
        if path == "sys/health":
            return (503 if self.sealed else 200), {"initialized": True, "sealed": self.sealed, "standby": False}
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if path in {"auth/approle/login", "auth/kubernetes/login"}:
            return self._login(path, method, body)
        who = self.tokens.get(token or "")
        if who is None or who.ends_at <= self.now:
            return DENIED
        return self._allowed(method, path, parse_qs(url.query), body, who)

    def _allowed(self, method: str, path: str, query: Mapping[str, list[str]], body: Json, who: Token) -> Answer:
        if path.startswith("auth/token/"):
            return self._token(path, method, who)
        held = next((each for pattern, each in who.policy.items() if fnmatch.fnmatch(path, pattern)), set[str]())
        return self._engine(method, path, query, body) if _CAPABILITIES.get(method) in held else DENIED

    def _login(self, path: str, method: str, body: Json) -> Answer:
        if method not in {"POST", "PUT"}:
            return 405, {"errors": ["unsupported operation"]}
        if "approle" in path:
            if body != {"role_id": self.role_id, "secret_id": self.secret_id}:
                return 400, {"errors": ["invalid role or secret ID"]}
        elif body.get("role") != self.kubernetes_role:
            return 400, {"errors": [f'invalid role name "{body.get("role")}"']}
        elif body != {"role": self.kubernetes_role, "jwt": self.jwt}:
            return DENIED
        return 200, _wrapped(None, auth={"client_token": self.new_token(), **self._lease(self.ttl_s)})

    def _token(self, path: str, method: str, who: Token) -> Answer:
        match method, path:
            case "GET", "auth/token/lookup-self":
                return 200, _wrapped({"ttl": int(who.ends_at - self.now), "renewable": True, "type": "service"})
            case (("POST" | "PUT"), "auth/token/renew-self"):
                who.ends_at = min(self.now + who.ttl_s, who.longest_until)
                return 200, _wrapped(None, auth=self._lease(int(who.ends_at - self.now)))
            case _:
                return 405, {"errors": ["unsupported operation"]}

    def _lease(self, duration_s: int) -> Json:
        return {"lease_duration": duration_s, "renewable": True, "policies": ["default"], "token_type": "service"}

    def _engine(self, method: str, path: str, query: Mapping[str, list[str]], body: Json) -> Answer:
        mount, _, rest = path.partition("/")
        verb, _, name = rest.partition("/")
        handlers: dict[tuple[str, str, str], Callable[[], Answer]] = {
            ("GET", "secret", "data"): lambda: self._kv_read(name, query),
            ("POST", "secret", "data"): lambda: self._kv_write(name, body),
            ("DELETE", "secret", "data"): lambda: self._kv_delete(name),
            ("GET", "transit", "keys"): lambda: self._key_read(name),
            ("POST", "transit", "keys"): lambda: self._key_write(name),
            ("POST", "transit", "encrypt"): lambda: self._batch(name, body, "plaintext", _encrypted),
            ("POST", "transit", "decrypt"): lambda: self._batch(name, body, "ciphertext", _decrypted),
        }
        handler = handlers.get((method, mount, verb))
        if handler is None:
            return 404, {"errors": [f'no handler for route "{path}". route entry not found.']}
        return handler()

    def _kv_read(self, path: str, query: Mapping[str, list[str]]) -> Answer:
        versions = self.kv.get(path, [])
        number = int(query.get("version", ["0"])[0]) or len(versions)
        if not 1 <= number <= len(versions):
            return NOT_FOUND
        data = versions[number - 1]
        found = {"data": data, "metadata": _metadata(number, deleted=data is None)}
        return (404 if data is None else 200), _wrapped(found)

    def _kv_write(self, path: str, body: Json) -> Answer:
        if "data" not in body or body.keys() - {"data", "options"}:
            return 400, {"errors": ["no data provided"]}
        versions = self.kv.setdefault(path, [])
        cas = body.get("options", {}).get("cas")
        if cas is not None and cas != len(versions):
            return 400, {"errors": ["check-and-set parameter did not match the current version"]}
        versions.append(body["data"])
        return 200, _wrapped(_metadata(len(versions), deleted=False))

    def _kv_delete(self, path: str) -> Answer:
        if self.kv.get(path):
            self.kv[path][-1] = None
        return 204, None

    def _key_read(self, name: str) -> Answer:
        if name not in self.transit:
            return NOT_FOUND
        latest = len(self.transit[name])
        return 200, _wrapped({"name": name, "type": "aes256-gcm96", "latest_version": latest, "exportable": False})

    def _key_write(self, name: str) -> Answer:
        name, _, verb = name.partition("/")
        if verb not in {"", "rotate"}:
            return 404, {"errors": ["unsupported path"]}
        if verb and name not in self.transit:
            return 400, {"errors": ["key not found"]}
        if verb or name not in self.transit:
            self.transit.setdefault(name, []).append(secrets.token_bytes(32))
        return 204, None

    def _batch(self, name: str, body: Json, wanted: str, work: Callable[[list[bytes], Json], Json]) -> Answer:
        if name not in self.transit:
            return 400, {"errors": ["encryption key not found"]}
        items = cast("list[Json]", body.get("batch_input") or [body])
        if any(item.keys() - {wanted, "associated_data"} for item in items) or not all(item[wanted] for item in items):
            return 400, {"errors": [f"missing {wanted}, or a field that the documentation doesn't name"]}
        results = [work(self.transit[name], item) for item in items]
        failed = any("error" in result for result in results)
        if "batch_input" not in body:
            return (400, {"errors": [results[0]["error"]]}) if failed else (200, _wrapped(results[0]))
        return (400 if failed else 200), _wrapped({"batch_results": results})


def _encrypted(versions: list[bytes], item: Json) -> Json:
    try:
        plaintext = base64.b64decode(item["plaintext"], validate=True)
    except ValueError:
        return {"error": "failed to base64-decode plaintext"}
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(versions[-1]).encrypt(nonce, plaintext, base64.b64decode(item.get("associated_data", "")))
    text = base64.b64encode(nonce + sealed).decode()
    return {"ciphertext": f"vault:v{len(versions)}:{text}", "key_version": len(versions)}


def _decrypted(versions: list[bytes], item: Json) -> Json:
    prefix, _, text = str(item["ciphertext"]).removeprefix("vault:v").partition(":")
    try:
        blob, key = base64.b64decode(text, validate=True), versions[int(prefix) - 1]
        plaintext = AESGCM(key).decrypt(
            blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], base64.b64decode(item.get("associated_data", ""))
        )
    except (InvalidTag, ValueError, IndexError):
        return {"error": "cipher: message authentication failed"}
    return {"plaintext": base64.b64encode(plaintext).decode()}


def _wrapped(data: Json | None, *, auth: Json | None = None) -> Json:
    about = {"request_id": secrets.token_hex(8), "lease_id": "", "renewable": False, "lease_duration": 0}
    return {**about, "data": data, "wrap_info": None, "warnings": None, "auth": auth}


def _metadata(version: int, *, deleted: bool) -> Json:
    at = "2026-01-01T00:00:00Z"
    return {"version": version, "created_time": at, "deletion_time": at if deleted else "", "destroyed": False}


@contextmanager
def fake_vault() -> Generator[FakeVault]:
    """A running one; `address` says where."""
    vault = FakeVault()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if vault.silent is not None:
                vault.silent.wait(30)
            try:
                read: Any = json.loads(body) if body else {}
            except ValueError:
                self._say(400, {"errors": ["error parsing JSON"]})
                return
            sent = {name: value for name, value in cast("Json", read).items() if value is not None}
            self._say(*vault.answer(self.command, self.path, self.headers.get("x-vault-token"), sent))

        def _say(self, status: int, answer: Json | None) -> None:
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vault.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield vault
    finally:
        if vault.silent is not None:
            vault.silent.set()
        server.shutdown()
        server.server_close()
        thread.join()
