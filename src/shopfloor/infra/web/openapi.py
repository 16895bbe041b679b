"""The OpenAPI side of problems: which errors a route may answer, with examples, in one schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from fastapi import FastAPI

from shopfloor.base.errors import InvalidInput, NotFound, NotSignedIn, PermissionDenied, ShopfloorError, TooLarge
from shopfloor.infra.web.errors import (
    BodyTimeout,
    HeadersTooLarge,
    MalformedRequest,
    UnexpectedError,
    UnsupportedMediaType,
)
from shopfloor.infra.web.problems import PROBLEM_JSON
from shopfloor.infra.web.rate_limiting import RateLimited

_REF = {"$ref": "#/components/schemas/Problem"}
# Any route: a body is read and refused also where none belongs.
EVERYWHERE: tuple[type[ShopfloorError], ...] = (
    MalformedRequest,
    NotSignedIn,
    PermissionDenied,
    BodyTimeout,
    TooLarge,
    UnsupportedMediaType,
    InvalidInput,
    RateLimited,
    HeadersTooLarge,
    UnexpectedError,
)

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "An error, as RFC 9457 has it. Decide on `code`, show `detail`, quote `instance` when you ask.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "retryable", "instance"],
    "properties": {
        "type": {"type": "string", "description": "Relative address of the error's page: `/errors/<code>`."},
        "title": {"type": "string", "description": "The kind of error; the same for each of its kind."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened, why, and what to do next."},
        "code": {"type": "string", "description": "Stable name of the kind, in kebab-case."},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "instance": {"type": "string", "description": "`urn:shopfloor:request:<id>`; the id is in the logs too."},
        "facts": {"type": "object", "description": "What a program can act on.", "additionalProperties": True},
        "errors": {
            "type": "array",
            "maxItems": 20,
            "description": "The fields that don't fit.",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "detail", "code"],
                "properties": {
                    "in": {"type": "string", "enum": ["body", "query", "path", "header", "cookie"]},
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) inside `in`."},
                    "detail": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        },
    },
}


def problems(*errors: type[ShopfloorError]) -> dict[int | str, dict[str, Any]]:
    """`responses=` for a route that may answer `errors`, one entry a status, one example an error."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        empty = {"description": error.title, "content": {PROBLEM_JSON: {"schema": _REF, "examples": {}}}}
        responses.setdefault(error.status, empty)["content"][PROBLEM_JSON]["examples"][error.code()] = _example(error)
    return responses


def document_problems(app: FastAPI) -> None:
    """Put the Problem schema and the errors that any route may answer into the application's OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = openapi


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = PROBLEM_SCHEMA
    for path, operation in _operations(document):
        common = list(EVERYWHERE)
        if "{" in path:
            common.append(NotFound)
        for status, response in problems(*common).items():
            _merge(operation["responses"], str(status), response)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in cast("dict[str, dict[str, Any]]", document.get("paths", {})).items():
        for operation in methods.values():
            if isinstance(operation, dict) and "responses" in operation:
                yield path, cast("dict[str, Any]", operation)


def _merge(responses: dict[str, Any], status: str, response: dict[str, Any]) -> None:
    """Add to what the route itself documents; FastAPI's own shape of a 422 gives way."""
    own = responses.get(status, {}).get("content", {}).get(PROBLEM_JSON)
    if own is None:
        responses[status] = response
        return
    own.setdefault("examples", {}).update(response["content"][PROBLEM_JSON]["examples"])


def _example(error: type[ShopfloorError]) -> dict[str, Any]:
    summary = (error.__doc__ or error.title).strip().splitlines()[0]
    return {
        "summary": error.title,
        "value": {
            "type": f"/errors/{error.code()}",
            "title": error.title,
            "status": error.status,
            "detail": summary,
            "code": error.code(),
            "retryable": error.retryable,
            "instance": "urn:shopfloor:request:019a0000-0000-7000-8000-000000000000",
        },
    }
