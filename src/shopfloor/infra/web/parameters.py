"""The gate of path and query parameters: what is undocumented, sent twice or no text is refused, not dropped."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from starlette.requests import HTTPConnection

# `openapi_extra=` of a route that strangers call with names of their own, as an identity provider calls back.
# Source: RFC 6749, section 4.1.2: a client ignores parameters it doesn't know.
ANY_QUERY: dict[str, Any] = {"x-any-query": True}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")  # U+FFFD: what was sent was not UTF-8
_LISTS = (list, set, tuple, frozenset)


def refuse_odd_parameters(connection: HTTPConnection) -> None:
    """A dependency of the whole application. Raises: RequestValidationError that names each odd parameter.

    Which of two equal names counts differs between programs; a misspelt filter would show more than was asked for.
    """
    found = [_error("path", name, _NO_TEXT) for name, value in connection.path_params.items() if _is_odd(value)]
    if connection.scope["type"] == "http" and connection.scope.get("query_string"):
        found += _odd_queries(connection)
    if found:
        raise RequestValidationError(found)


def _odd_queries(connection: HTTPConnection) -> Iterator[dict[str, Any]]:
    known = _known(connection)
    seen: set[str] = set()
    for name, value in connection.query_params.multi_items():
        if _is_odd(name) or _is_odd(value):
            yield _error("query", name, _NO_TEXT)
        elif known is not None and name not in known:
            yield _error("query", name, _UNKNOWN)
        elif known is not None and name in seen and not known[name]:
            yield _error("query", name, _TWICE)
        seen.add(name)


_NO_TEXT = ("control_character", "It holds a control character, or is not UTF-8")
_UNKNOWN = ("extra_forbidden", "There is no such parameter here; /openapi.json lists those there are")
_TWICE = ("repeated", "It was sent more than once: which one counts is anybody's guess")


def _error(where: str, name: str, why: tuple[str, str]) -> dict[str, Any]:
    return {"loc": (where, name), "type": why[0], "msg": why[1]}


def _is_odd(value: object) -> bool:
    return isinstance(value, str) and _CONTROL.search(value) is not None


def _known(connection: HTTPConnection) -> dict[str, bool] | None:
    """The documented names, and whether each may come several times. None: any name goes."""
    scope = cast("dict[str, Any]", connection.scope)
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    dependant = getattr(route, "dependant", None)
    extra = cast("dict[str, Any]", getattr(route, "openapi_extra", None) or {})
    if not isinstance(dependant, Dependant) or extra.get("x-any-query"):
        return None
    return _documented(_Held(dependant))


class _Held:
    """A dependant as an argument of a cached function: it has no hash, and lives as long as the application."""

    def __init__(self, dependant: Dependant) -> None:
        self.dependant = dependant

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.dependant is other.dependant

    def __hash__(self) -> int:
        return id(self.dependant)


@lru_cache(maxsize=1_000)
def _documented(held: _Held) -> dict[str, bool]:
    fields = [field for field in get_flat_params(held.dependant) if isinstance(field.field_info, params.Query)]
    return {field.alias: _is_list(field.field_info.annotation) for field in fields}


def _is_list(annotation: object) -> bool:
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, types.UnionType}:
        return any(_is_list(each) for each in typing.get_args(annotation))
    return (origin or annotation) in _LISTS
