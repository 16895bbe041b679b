"""Versions as strong ETags: a reader that is up to date gets 304, a writer that isn't gets 412. Source: RFC 9110."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.infra.web.errors import PreconditionRequired

_MAX_TAGS = 32
_MAX_HEADER_CHARS = 4_096


def etag_of(version: int, *, variant: str = "") -> str:
    """The strong ETag of a version. `variant` tells apart representations of one version (a role, a format)."""
    return f'"{version}{"-" + variant if variant else ""}"'


def not_modified(request: Request, etag: str) -> Response | None:
    """304 if the client's copy is the newest, else None. Weak comparison (section 8.8.3.2)."""
    sent = request.headers.getlist("if-none-match")
    if not sent:
        return None
    tags = _tags(",".join(sent))
    if "*" in tags or etag in {tag.removeprefix("W/") for tag in tags}:
        return Response(status_code=304, headers=cache_headers(etag))
    return None


def cache_headers(etag: str) -> dict[str, str]:
    """Headers for an answer that a client may keep and must ask about; no shared cache may keep it."""
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie, Accept"}


def require_match(request: Request, etag: str, *, optional: bool = False, any_variant: bool = False) -> None:
    """Raises: PreconditionFailed if If-Match names another version; PreconditionRequired if it is missing.

    Strong comparison (section 13.1.1): a weak tag never matches. The version alone, as the reply has it, matches
    whatever the variant; with `any_variant` every variant of the version does, where a variant holds figures that go on
    changing. The caller still writes `where version = ...`.
    """
    sent = request.headers.getlist("if-match")
    if not sent:
        if optional:
            return
        raise PreconditionRequired("Read it first and send its ETag as If-Match.", etag_header="If-Match")
    tags = _tags(",".join(sent))
    version = _version(etag)
    if any_variant:
        tags = {tag if tag == "*" or tag.startswith("W/") else _version(tag) for tag in tags}
    if tags.isdisjoint({"*", etag, version}):
        raise PreconditionFailed(
            "Somebody changed it after you read it. Read it again, then repeat your change.", current_etag=etag
        )


def _version(tag: str) -> str:
    return f'"{tag.strip(chr(34)).partition("-")[0]}"'


def _tags(header: str) -> set[str]:
    tags = {tag.strip() for tag in header[: _MAX_HEADER_CHARS + 1].split(",")}
    if len(header) > _MAX_HEADER_CHARS or len(tags) > _MAX_TAGS:
        raise InvalidInput("too many ETags in one header. Send the one you have.", limit=_MAX_TAGS)
    return tags
