"""Errors as problem+json: every answer that isn't a success has the same shape. Source: RFC 9457."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shopfloor.base.errors import InvalidInput, NotFound, NotSignedIn, ShopfloorError, TooLarge, Unavailable
from shopfloor.base.ids import new_id
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.web.errors import MalformedRequest, MethodNotAllowed, UnexpectedError, UnsupportedMediaType
from shopfloor.infra.web.wording import allowed_by

PROBLEM_JSON = "application/problem+json"
MAX_FIELD_ERRORS = 20
MAX_TEXT_CHARS = 500
MAX_FACTS = 20
_MAX_NESTING = 3
_UNREAD_BODY = (408, 413)  # the rest of the body is still on its way: nothing after it on this connection is trusted
_MAX_INTEGER = 2**63 - 1

log = structlog.get_logger(__name__)

_BY_STATUS: dict[int, type[ShopfloorError]] = {
    400: MalformedRequest,
    401: NotSignedIn,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: InvalidInput,
    503: Unavailable,
}


def install_problems(app: FastAPI) -> None:
    """Answer every error of `app` as problem+json."""
    app.add_exception_handler(ShopfloorError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def problem_response(
    error: ShopfloorError,
    *,
    request_id: str = "",
    errors: Sequence[Mapping[str, object]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer that tells `error`. `errors` are the fields that don't fit, each `{in, pointer, detail, code}`."""
    body: dict[str, object] = {
        "type": f"/errors/{error.code()}",
        "title": error.title,
        "status": error.status,
        "detail": _text(error.detail),
        "code": error.code(),
        "retryable": error.retryable,
        "instance": f"urn:shopfloor:request:{request_id}" if request_id else "about:blank",
    }
    if errors:
        body["errors"] = list(errors[:MAX_FIELD_ERRORS])
    if error.facts:
        body["facts"] = bounded_facts(error.facts)
    content = orjson.dumps(body)
    return Response(content, error.status, {**_headers_of(error), **(headers or {})}, PROBLEM_JSON)


def bounded_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """`facts` as JSON of bounded size: 20 names, 500 characters a text, three levels; secrets struck out."""
    return {_text(name): _bounded(REDACTOR.named(name, item), 0) for name, item in list(facts.items())[:MAX_FACTS]}


def request_id_of(request: Request) -> str:
    """The id that the edge gave this request; empty without the edge."""
    return cast("str", request.scope.get("shopfloor.request_id", ""))


def unexpected_problem(error: Exception, request_id: str) -> Response:
    """Log a defect under a new error id and answer with that id alone."""
    error_id = new_id()
    log.error("request.crashed", error_id=str(error_id), request_id=request_id, exc_info=error)
    told = UnexpectedError(
        f"This is a defect of the server, not of your request. Tell its operator the error id {error_id}: "
        "the log has the rest.",
        error_id=str(error_id),
    )
    return problem_response(told, request_id=request_id)


async def _known(request: Request, error: Exception) -> Response:
    known = cast("ShopfloorError", error)
    if known.status >= 500:  # noqa: PLR2004 (server's fault from 500 on)
        log.warning("request.failed", code=known.code(), detail=known.detail, facts=known.facts)
    return problem_response(known, request_id=request_id_of(request))


async def _invalid(request: Request, error: Exception) -> Response:
    found = cast("RequestValidationError", error).errors()
    told = InvalidInput(
        f"{len(found)} {'field does' if len(found) == 1 else 'fields do'} not fit what is documented. "
        "`errors` says which and why."
    )
    fields = [_field(each) for each in found[:MAX_FIELD_ERRORS]]
    return problem_response(told, request_id=request_id_of(request), errors=fields)


async def _http(request: Request, error: Exception) -> Response:
    answer = cast("HTTPException", error)
    if answer.status_code < 400:  # noqa: PLR2004 (a redirect or 304 raised as an exception is no problem)
        return Response(status_code=answer.status_code, headers=answer.headers)
    known = _BY_STATUS.get(answer.status_code)
    if known is None:
        known = type("RequestRefused", (ShopfloorError,), {"status": answer.status_code, "title": "Refused"})
    detail = _DETAILS.get(answer.status_code, str(answer.detail))
    headers = {"Allow": _allowed(request)} if answer.status_code == MethodNotAllowed.status else answer.headers
    return problem_response(known(detail), request_id=request_id_of(request), headers=headers)


def _allowed(request: Request) -> str:
    """Every method of the address (RFC 9110, 10.2.1): the framework names those of the first route that has it."""
    methods: set[str] = set()
    for route in iter_route_contexts(cast("FastAPI", request.app).routes):
        shape: re.Pattern[str] | None = getattr(route, "path_regex", None)
        if shape is not None and shape.match(request.scope["path"]):
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


async def _unexpected(request: Request, error: Exception) -> Response:
    request.scope["shopfloor.crashed"] = True
    return unexpected_problem(error, request_id_of(request))


_DETAILS = {
    404: "There is nothing at this address, or not for you. /openapi.json lists the addresses.",
    405: "Use one of the methods in the Allow header.",
}


def _headers_of(error: ShopfloorError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if error.status in _UNREAD_BODY:
        headers["Connection"] = "close"
    if error.status == NotSignedIn.status:
        headers["WWW-Authenticate"] = "Bearer"
    retry_after_s = error.facts.get("retry_after_s")
    if isinstance(retry_after_s, int | float) and math.isfinite(retry_after_s):
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return headers


def _field(error: Mapping[str, Any]) -> dict[str, object]:
    """One field that doesn't fit. The value sent is never told back: it may be a secret or not even text."""
    where, *path = [str(part) for part in error.get("loc", ())] or ["body"]
    steps = (part.replace("~", "~0").replace("/", "~1")[:64] for part in path[:16])
    return {
        "in": where,
        "pointer": _text("".join(f"/{step}" for step in steps)),  # RFC 6901
        "detail": _detail(error),
        "code": str(error.get("type", "invalid"))[:64],
    }


def _detail(error: Mapping[str, Any]) -> str:
    if error.get("type") == "union_tag_invalid":  # pydantic's own text repeats the tag that was sent
        expected = error.get("ctx", {}).get("expected_tags", "")
        return _text(f"Input tag does not match any of the expected tags: {expected}")
    if error.get("type") == "string_pattern_mismatch":
        allowed = allowed_by(str(error.get("ctx", {}).get("pattern", "")))
        if allowed is not None:
            return _text(allowed)
    return _text(str(error.get("msg", "does not fit")))


def _bounded(value: object, level: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _MAX_INTEGER else str(value)[:MAX_TEXT_CHARS]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if level >= _MAX_NESTING or not isinstance(value, dict | list):
        return _text(str(value))
    if isinstance(value, dict):
        pairs = list(cast("dict[object, object]", value).items())[:MAX_FACTS]
        return {_text(str(name)): _bounded(item, level + 1) for name, item in pairs}
    return [_bounded(item, level + 1) for item in cast("list[object]", value)[:MAX_FACTS]]


def _text(text: str) -> str:
    """Redacted, cut, and encodable: a lone surrogate becomes a question mark."""
    text = REDACTOR.text(text[: 4 * MAX_TEXT_CHARS]).encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "..."
