"""Who is asking over HTTP: each route names the permission it takes, and no route is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Protocol, cast

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from shopfloor.base.errors import NotSignedIn, PermissionDenied
from shopfloor.base.principal import Principal, missing
from shopfloor.domain.access import sign_in
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store
from shopfloor.infra.web.rate_limiting import count_for

SIGNED_IN: Final = "me"  # what everybody with a valid key may: ask who they are


class AccessState(Protocol):
    """What this room needs of `app.state.shopfloor`."""

    @property
    def store(self) -> Store:
        """Open pools."""
        ...

    @property
    def sealer(self) -> Sealer:
        """Checks keys."""
        ...


def access_state(connection: HTTPConnection) -> AccessState:
    """What the application was wired with."""
    return cast("AccessState", connection.app.state.shopfloor)


class _Bearer(SecurityBase):
    """The header itself, for requests and WebSockets alike; the OpenAPI document shows it as the scheme `api-key`."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="An API key: `Authorization: Bearer sf_...`.")
        self.scheme_name = "api-key"

    async def __call__(self, connection: HTTPConnection) -> str | None:
        sent = connection.headers.getlist("authorization")
        if len(sent) > 1:
            raise NotSignedIn("This request carries several Authorization headers. Send one.")
        return sent[0] if sent else None


_BEARER = _Bearer()


async def authenticated(
    connection: HTTPConnection, authorization: Annotated[str | None, Depends(_BEARER)]
) -> Principal:
    """The principal of this request, which counts against its rate limits. Raises: NotSignedIn, RateLimited."""
    state = access_state(connection)
    try:
        principal = await sign_in.authenticate(state.store, state.sealer, authorization)
    except NotSignedIn:
        await count_for(connection, None)
        raise
    await count_for(connection, principal)
    return principal


@dataclass(frozen=True)
class Require:
    """A dependency that lets pass who has `permission` anywhere, and gives the principal to the route.

    The verb asks again for the project that the request turns out to concern.

    `whole_organization`: a key that is limited to some projects may not do this, whatever its permissions.
    """

    permission: str
    whole_organization: bool = False

    async def __call__(self, principal: Annotated[Principal, Depends(authenticated)]) -> Principal:
        """Raises: NotSignedIn, PermissionDenied that names what is missing."""
        if self.permission != SIGNED_IN and not principal.allows_somewhere(self.permission):
            raise missing(principal, self.permission)
        if self.whole_organization and not principal.allows(self.permission):
            raise missing(principal, self.permission)
        if self.whole_organization and principal.project_ids is not None:
            raise PermissionDenied(
                f"{principal.name or principal.kind} is limited to some projects, and this concerns the whole "
                "organization. Use a key without project_ids.",
                permission=self.permission,
            )
        return principal


async def permitted(connection: HTTPConnection, require: Require) -> Principal:
    """What `Depends(require)` gives, for the few routes that FastAPI documents but doesn't run."""
    return await require(await authenticated(connection, await _BEARER(connection)))
