"""What the application answers to, read from its own document: new routes are attacked without anybody adding them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute, iter_route_contexts

from shopfloor import __version__
from shopfloor.apps.api import create_app
from shopfloor.base.ids import new_id
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.health import Health
from shopfloor.infra.web.rate_limiting import LimitsSettings

# Routes that ask for nobody, each with the reason why it must not. The matrix finds any other.
OPEN = {
    "GET /livez": "tells nothing",
    "GET /readyz": "tells nothing",
    "GET /.well-known/jwks.json": "public keys",
    "POST /api/v1/auth/setup": "the first owner has no account yet; the link's token is asked for",
    "POST /api/v1/auth/sign-in": "the way in",
    "POST /api/v1/auth/second-factor": "the way in; the challenge is asked for",
    "POST /api/v1/auth/token/refresh": "the access token has ended; the refresh token is asked for",
    "POST /api/v1/auth/password/forgot": "whoever forgot a password can't sign in; the mailbox gets the token",
    "POST /api/v1/auth/password/reset": "the mail's token is asked for",
    "POST /api/v1/auth/email/verify": "the mail's token is asked for",
    "POST /api/v1/auth/invitations/accept": "who is invited has no account yet; the invitation's token is asked for",
    "GET /api/v1/auth/oidc/{provider_id}/start": "the way in, by a link that an organization gives its people",
    "GET /api/v1/auth/oidc/callback": "the way in; state, browser and the provider's signature are asked for",
    "POST /api/v1/auth/passkeys/options": "the way in: a challenge",
    "POST /api/v1/auth/passkeys/sign-in": "the way in; the passkey's signature is asked for",
}
# What the operator's own organization may; test_route_matrix.py asks them, and others come no further than 403.
OF_THE_OPERATOR = {
    "GET /api/v1/organizations", "POST /api/v1/organizations", "POST /api/v1/organizations/setup-link",
}  # fmt: skip
# Who signed in as a person, not a key, is asked for below these.
_OF_A_PERSON = ("/api/v1/me", "/api/v1/auth/")
WRITING = frozenset({"post", "put", "patch", "delete"})


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the document describes it."""

    method: str
    path: str
    description: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def is_open(self) -> bool:
        return str(self) in OPEN

    @property
    def of_a_person(self) -> bool:
        return self.path.startswith(_OF_A_PERSON)

    @property
    def path_parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def query(self) -> dict[str, dict[str, Any]]:
        """Schema by name."""
        return {
            each["name"]: _resolved(each["schema"])
            for each in self.description.get("parameters", [])
            if each["in"] == "query"
        }

    @property
    def body(self) -> dict[str, Any] | None:
        """The schema of its JSON body."""
        content = self.description.get("requestBody", {}).get("content", {})
        return _resolved(content["application/json"]["schema"]) if "application/json" in content else None

    def body_example(self) -> Any:
        """A valid body, with names of its own each time; None where there is none."""
        if self.body is None:
            return None
        body = example(self.body)
        if self.method == "patch" and not body:  # an empty change changes nothing: no attack at all
            name, schema = next(iter(properties(self.body).items()))
            body = {name: example(schema)}
        return _fresh(body)


def _closed() -> FastAPI:
    """The application without its parts: it describes itself and answers nobody."""
    settings = SimpleNamespace(web=EdgeSettings(), limits=LimitsSettings())
    parts: Any = SimpleNamespace(settings=settings, limiter=None, store=None, health=Health(__version__))
    return create_app(parts)


def _document() -> dict[str, Any]:
    return _closed().openapi()


def _websockets() -> list[str]:
    found = iter_route_contexts(_closed().routes)
    return [str(each.path) for each in found if isinstance(each.original_route, APIWebSocketRoute)]


DOCUMENT = _document()
OPERATIONS = [
    Operation(method, path, description)
    for path, methods in DOCUMENT["paths"].items()
    for method, description in methods.items()
]
WEBSOCKETS = _websockets()


ATTACKED = [each for each in OPERATIONS if str(each) not in OF_THE_OPERATOR]


def operation(method: str, path: str) -> Operation | None:
    return next((each for each in OPERATIONS if (each.method, each.path) == (method, path)), None)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Without `$ref` at its top, and the half of `anyOf` that isn't null."""
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    choices = [each for each in schema.get("anyOf", schema.get("oneOf", [])) if each.get("type") != "null"]
    return {**schema, **_resolved(choices[0])} if choices else schema


def properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Schema by name, each resolved."""
    return {name: _resolved(each) for name, each in schema.get("properties", {}).items()}


def text_places(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every text that may stand in a body: the way to it, and its schema. Lists are entered by `0`."""
    for name, each in properties(schema).items():
        place = (*at, name)
        if each.get("type") == "string" and "enum" not in each and "const" not in each:
            yield place, each
        elif each.get("type") == "array":
            item = _resolved(each.get("items", {}))
            if item.get("type") == "string" and "enum" not in item:
                yield (*place, "0"), item
        elif each.get("properties") and len(at) < 3:
            yield from text_places(each, place)


def put(body: Any, place: tuple[str, ...], value: Any) -> Any:
    """`body` with `value` at `place`; what is missing on the way is made."""
    if not place:
        return value
    if place[0] == "0":
        return [put(None, place[1:], value)]
    base = dict(body) if isinstance(body, dict) else {}
    return base | {place[0]: put(base.get(place[0]), place[1:], value)}


_BY_FORMAT = {
    "uuid": lambda: str(new_id()),
    "date-time": lambda: "2030-01-02T03:04:05Z",
    "email": lambda: f"somebody-{new_id().hex}@example.org",
    "uri": lambda: "https://example.org/a",
}
_BY_NAME = {"email": _BY_FORMAT["email"], "model": lambda: "mock/small", "provider": lambda: "mock", "ref": lambda: "m"}
_ONE_OF_A_KIND = {"slug", "name", "email", "version", "key"}


def example(schema: dict[str, Any]) -> Any:
    """The first example that the schema gives, else the smallest value that fits."""
    schema = _resolved(schema)
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    return schema["const"] if "const" in schema else _SMALLEST.get(schema.get("type", "string"), _text)(schema)


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    known = {name: each for name, each in properties(schema).items() if name in schema.get("required", [])}
    return {
        name: _BY_NAME[name]() if name in _BY_NAME and each.get("type") == "string" else example(each)
        for name, each in known.items()
    }


def _text(schema: dict[str, Any]) -> str:
    return _BY_FORMAT.get(schema.get("format", ""), lambda: "a" * max(3, schema.get("minLength", 3)))()


_SMALLEST: dict[str, Callable[[dict[str, Any]], Any]] = {
    "object": _object,
    "array": lambda schema: [example(schema["items"]) for _ in range(schema.get("minItems", 0))],
    "integer": lambda schema: max(schema.get("minimum", 1), 1),
    "number": lambda schema: max(schema.get("minimum", 1), 1),
    "boolean": lambda _: True,
    "null": lambda _: None,
    "string": _text,
}


def _fresh(body: Any) -> Any:
    """With slugs, names and addresses that nobody has taken yet."""
    if not isinstance(body, dict):
        return body
    fresh = new_id().hex[-12:]
    changed = {}
    for name, value in body.items():
        if name in _ONE_OF_A_KIND and isinstance(value, str):
            changed[name] = f"x{fresh}@example.org" if "@" in value else f"{value[:20]}-{fresh}"
        else:
            changed[name] = value
    return changed
