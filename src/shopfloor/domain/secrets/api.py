"""This room over HTTP: secrets by name, and a new data key for the organization. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.domain.secrets import keep
from shopfloor.domain.secrets.errors import SecretNameTaken
from shopfloor.domain.secrets.keep import NewSecret
from shopfloor.domain.secrets.schemas import DataKeyRotated, SecretChange, SecretNew, SecretReply, secret_reply
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.port import MasterKeysAway
from shopfloor.infra.secrets.rotation import rotate_data
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1", tags=["secrets"])

_SECRETS = Keyset("secrets", UUID)

SecretReader = Annotated[Principal, Depends(Require("secret.read"))]
SecretEditor = Annotated[Principal, Depends(Require("secret.edit"))]
KeyMaker = Annotated[Principal, Depends(Require("organization.edit", whole_organization=True))]


class SecretsState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    store: Store
    sealer: EnvelopeSealer


def _state(request: Request) -> SecretsState:
    return cast("SecretsState", request.app.state.shopfloor)


@router.get("/secrets")
async def list_secrets(
    request: Request, principal: SecretReader, limit: Limit = 50, cursor: CursorText = None
) -> Page[SecretReply]:
    """The organization's secrets without their values, oldest first."""
    keys = _SECRETS.read(cursor)
    async with begin(_state(request).store, principal) as tx:
        rows = await keep.list_secrets(tx, after=cast("UUID", keys[0]) if keys else None, limit=limit + 1)
    items, following = _SECRETS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[secret_reply(row) for row in items], next_cursor=following)


@router.post("/secrets", status_code=201, responses=problems(SecretNameTaken, MasterKeysAway))
async def post_secret(request: Request, response: Response, new: SecretNew, principal: SecretEditor) -> SecretReply:
    """Hand in a secret. Its value is kept sealed and never shown again."""
    state = _state(request)
    wanted = NewSecret(new.name, new.value, new.kind, new.project_id, new.host, new.username)
    async with begin(state.store, principal) as tx:
        secret = await keep.add_secret(tx, state.sealer, wanted)
    response.headers.update({"Location": f"/api/v1/secrets/{secret.id}", **cache_headers(etag_of(secret.version))})
    return secret_reply(secret)


@router.get("/secrets/{secret_id}", response_model=SecretReply)
async def get_secret(request: Request, response: Response, secret_id: UUID, principal: SecretReader) -> Any:
    """One secret, without its value."""
    async with begin(_state(request).store, principal) as tx:
        secret = await keep.find_secret(tx, secret_id)
    etag = etag_of(secret.version)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or secret_reply(secret)


@router.patch("/secrets/{secret_id}", responses=problems(PreconditionFailed, MasterKeysAway))
async def patch_secret(
    request: Request, response: Response, secret_id: UUID, change: SecretChange, principal: SecretEditor
) -> SecretReply:
    """Give it a new value: what asks next gets that one. With `If-Match`: only if nobody changed it since."""
    state = _state(request)
    given = {name: getattr(change, name) for name in change.model_fields_set}
    async with begin(state.store, principal) as tx:
        secret = await keep.find_secret(tx, secret_id)
        require_match(request, etag_of(secret.version), optional=True)
        changed = await keep.change_secret(tx, state.sealer, secret, given)
    response.headers.update(cache_headers(etag_of(changed.version)))
    return secret_reply(changed)


@router.delete("/secrets/{secret_id}", status_code=204, responses=problems(PreconditionFailed))
async def delete_secret(request: Request, secret_id: UUID, principal: SecretEditor) -> None:
    """Remove a secret for good."""
    async with begin(_state(request).store, principal) as tx:
        secret = await keep.find_secret(tx, secret_id)
        require_match(request, etag_of(secret.version), optional=True)
        await keep.remove_secret(tx, secret)


@router.post("/data-key/rotate", responses=problems(MasterKeysAway))
async def post_data_key_rotate(request: Request, principal: KeyMaker) -> DataKeyRotated:
    """A new data key for the organization: each of its secrets is sealed anew, and stays readable meanwhile."""
    state = _state(request)
    rotated = await rotate_data(state.store, state.sealer, principal.organization_id)
    return DataKeyRotated(key_id=rotated.key_id, values=rotated.values, broken=rotated.broken)
