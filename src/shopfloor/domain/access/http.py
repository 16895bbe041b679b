"""Who is asking over HTTP: each route names the permission it takes; those for signing in are open, and listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Protocol, cast

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from shopfloor.base.errors import NotSignedIn, PermissionDenied
from shopfloor.base.principal import Principal, missing
from shopfloor.domain.access import sign_in
from shopfloor.domain.access.cookies import RequestForged, refuse_forged, session_secret
from shopfloor.domain.access.tokens import KeyRing
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store
from shopfloor.infra.web.edge import EdgeSettings
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

    @property
    def ring(self) -> KeyRing:
        """Checks access tokens."""
        ...

    @property
    def edge(self) -> EdgeSettings:
        """Whether we are reached by HTTPS, and from which other origins."""
        ...


class SecondFactorRequired(PermissionDenied):
    """The organization asks for a second factor, and this person has none yet."""

    title = "Set up a second factor first"


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
    """The principal of this request, which counts against its rate limits.

    Raises: NotSignedIn, RateLimited; RequestForged for a cookie without the marks of a page of our own.
    """
    try:
        principal = await _principal_of(connection, authorization)
    except NotSignedIn:
        await count_for(connection, None)
        raise
    await count_for(connection, principal)
    return principal


async def authenticated_still(connection: HTTPConnection, principal: Principal) -> Principal:
    """Asked again while a stream is open. Raises: NotSignedIn."""
    return await sign_in.still(access_state(connection).store, principal)


async def _principal_of(connection: HTTPConnection, authorization: str | None) -> Principal:
    """Of the header, else of a WebSocket's ticket, else of the cookie."""
    state = access_state(connection)
    if authorization is not None:
        return await sign_in.authenticate(state.store, state.sealer, authorization, ring=state.ring)
    websocket = isinstance(connection, WebSocket)
    tickets = connection.query_params.getlist("ticket") if websocket else []
    if len(tickets) == 1:
        return await sign_in.by_ticket(state.store, tickets[0])
    secret = session_secret(connection.headers, https=state.edge.https)
    if secret is None or len(tickets) > 1:
        return await sign_in.authenticate(state.store, state.sealer, None)
    if websocket and "origin" not in connection.headers:  # where it comes from is looked at before it is accepted
        raise RequestForged("A WebSocket with the session's cookie names its Origin. Use a ticket instead.")
    if not websocket:
        method = str(connection.scope["method"])
        refuse_forged(connection.headers, method, secret=secret, allowed=state.edge.allowed_origins)
    return await sign_in.by_cookie(state.store, secret)


@dataclass(frozen=True)
class Require:
    """A dependency that lets pass who has `permission` anywhere, and gives the principal to the route.

    The verb asks again for the project that the request turns out to concern.

    `whole_organization`: a key that is limited to some projects may not do this, whatever its permissions.
    `while_restricted`: also for a session that has to set up its second factor first; for nothing but that.
    """

    permission: str
    whole_organization: bool = False
    while_restricted: bool = False

    async def __call__(
        self, connection: HTTPConnection, principal: Annotated[Principal, Depends(authenticated)]
    ) -> Principal:
        """Raises: NotSignedIn, SecondFactorRequired, PermissionDenied that names what is missing."""
        connection.state.principal = principal  # a refusal, here or in a verb, says who can give what is missing
        if principal.restricted and not self.while_restricted:
            raise SecondFactorRequired(
                "Your organization asks for a second factor, and you have none yet. Until you have one this session "
                "may do nothing else: `shopfloor mfa` or the routes below /api/v1/me/factors set one up."
            )
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
    return await require(connection, await authenticated(connection, await _BEARER(connection)))
