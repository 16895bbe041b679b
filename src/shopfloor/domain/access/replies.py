"""How this room's routes shape what comes in and goes out."""

from __future__ import annotations

from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Path, Request, Response

from shopfloor.domain.access.models import Organization, Project
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified
from shopfloor.infra.web.json_body import Body

ProjectName = Annotated[str, Path(min_length=1, max_length=64, description="Its id or slug.")]
TeamName = Annotated[str, Path(min_length=1, max_length=64, description="Its id or slug.")]


def given(change: Body) -> dict[str, Any]:
    """Only the fields that the client sent."""
    return {name: getattr(change, name) for name in change.model_fields_set}


def tag_of(row: Organization | Project) -> str:
    """With its id: `/organizations/current` and `/projects/<slug>` are one address for every organization."""
    return etag_of(row.version, variant=row.id.hex[-12:])


def versioned(request: Request, response: Response, version: int | Organization | Project, reply: Any) -> Any:
    """The reply with its ETag, or 304 for a client whose copy is the newest."""
    etag = etag_of(version) if isinstance(version, int) else tag_of(version)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or reply


def after_id(keys: tuple[Any, ...] | None) -> UUID | None:
    """The id behind which a page starts."""
    return cast("UUID", keys[0]) if keys else None
