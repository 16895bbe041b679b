"""Rate limits over HTTP: which quotas a request counts against, the headers that tell them, the refusal.

Source: draft-ietf-httpapi-ratelimit-headers-11 for `RateLimit-Policy` and `RateLimit`; RFC 9651 for their syntax.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection
from starlette.types import Scope

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.principal import Principal
from shopfloor.infra.client_address import one_customer
from shopfloor.infra.origin import origin
from shopfloor.infra.rate_limiter import RateLimiter
from shopfloor.infra.rate_limits import Level, Quota, Window

_HIDDEN = "global"  # how much the whole installation has left is nobody's business until it is nothing
_EVERYBODY = "everybody"

RawHeaders = list[tuple[bytes, bytes]]


class RateLimited(ShopfloorError):
    """More requests than a quota allows. `violated_policies` names it; after `retry_after_s` one more passes."""

    status: ClassVar[int] = 429
    title: ClassVar[str] = "Too many requests"
    retryable: ClassVar[bool] = True


class LimitsSettings(BaseModel):
    """How many requests a minute pass; 0: as many as come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_per_minute: int = Field(default=600, ge=0)  # of one API key
    user_per_minute: int = Field(default=600, ge=0)  # of one person, all keys and sessions together
    organization_per_minute: int = Field(default=6_000, ge=0)
    organizations: dict[UUID, Annotated[int, Field(ge=0)]] = {}  # other limits for some organizations, by id
    sign_in_per_minute: int = Field(default=20, ge=0)  # of one address (a /64 of IPv6), on the routes that sign in
    global_per_minute: int = Field(default=60_000, ge=0)  # of the whole installation


class RequestLimits:
    """The quotas of an installation, and who counts them. One an application."""

    def __init__(self, settings: LimitsSettings | None = None, limiter: RateLimiter | None = None) -> None:
        settings = settings or LimitsSettings()
        self.limiter = limiter or RateLimiter()
        self._key = Quota("key", settings.key_per_minute)
        self._user = Quota("user", settings.user_per_minute)
        self._organization = Quota("organization", settings.organization_per_minute)
        self._organizations = {
            organization_id: Quota("organization", limit) for organization_id, limit in settings.organizations.items()
        }
        self._sign_in = Quota("sign-in", settings.sign_in_per_minute)
        self._everybody = _on([Window(Quota(_HIDDEN, settings.global_per_minute), _EVERYBODY)])

    def of_principal(self, principal: Principal) -> list[Window]:
        """What a request of `principal` counts against."""
        organization_id = principal.organization_id
        group = organization_id.hex
        windows = [Window(self._organizations.get(organization_id, self._organization), group, group)]
        if principal.kind == "key":
            windows.append(Window(self._key, principal.id.hex, group))
        user_id = principal.user_id or (principal.id if principal.kind in {"user", "service"} else None)
        if user_id is not None:
            windows.append(Window(self._user, user_id.hex, group))
        return [*_on(windows), *self._everybody]

    def of_sign_in(self, address: str) -> list[Window]:
        """What an attempt to sign in from `address` counts against."""
        customer = one_customer(address)
        return [*_on([Window(self._sign_in, customer, f"address {customer}")]), *self._everybody]

    def of_stranger(self) -> list[Window]:
        """What a request without a valid key counts against."""
        return self._everybody


class Tally:
    """What one request counted. The edge puts it into the scope, and its headers on the answer."""

    __slots__ = ("_limits", "headers")

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self.headers: RawHeaders | None = None  # None: nothing was counted yet

    async def principal(self, principal: Principal) -> None:
        """Count it once for who asks, however often a stream asks again. Raises: RateLimited."""
        if self.headers is None:
            await self._count(self._limits.of_principal(principal))

    async def stranger(self) -> None:
        """Count it for nobody in particular. Raises: RateLimited."""
        if self.headers is None:
            await self._count(self._limits.of_stranger())

    async def sign_in(self, address: str) -> None:
        """Count an attempt to sign in. Raises: RateLimited."""
        await self._count(self._limits.of_sign_in(address))

    async def _count(self, windows: Sequence[Window]) -> None:
        self.headers = []
        if not windows:
            return
        found = await self._limits.limiter.take(windows)
        full = [level for level in found if level.wait_s]
        # A refusal tells of the full quotas alone: `t` of another may lie beyond Retry-After (section 6).
        self.headers = rate_limit_headers(full or [level for level in found if level.quota.name != _HIDDEN])
        if full:
            raise _refusal(full)


def tally_of(scope: Scope) -> Tally | None:
    """The tally of this request; None without the edge around it."""
    return cast("Tally | None", scope.get("shopfloor.tally"))


async def count_for(connection: HTTPConnection, principal: Principal | None) -> None:
    """Count this request, once, for its principal (None: nobody known). Raises: RateLimited."""
    tally = tally_of(connection.scope)
    if tally is not None:
        await (tally.stranger() if principal is None else tally.principal(principal))


async def sign_in_limit(connection: HTTPConnection) -> None:
    """A dependency for every route that takes a password, a code or a token. Raises: RateLimited."""
    tally = tally_of(connection.scope)
    if tally is not None:
        await tally.sign_in(origin().address)


def rate_limit_headers(found: Sequence[Level]) -> RawHeaders:
    """`RateLimit-Policy` and `RateLimit` for these levels; nothing for none."""
    if not found:
        return []
    policies = ", ".join([f'"{each.quota.name}";q={each.quota.limit};w={each.quota.window_s}' for each in found])
    left = ", ".join([f'"{each.quota.name}";r={each.remaining};t={_seconds(each)}' for each in found])
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())]


def _seconds(level: Level) -> int:
    return math.ceil(level.wait_s or level.reset_s)


def _refusal(full: Sequence[Level]) -> RateLimited:
    wait_s = max(_seconds(level) for level in full)
    names = [level.quota.name for level in full]
    told = " and ".join(
        f"{level.quota.limit} requests in {level.quota.window_s} s ({level.quota.name})" for level in full
    )
    return RateLimited(
        f"No more than {told}. Wait {wait_s} s, as Retry-After says, and spread requests: the RateLimit header of each "
        "answer tells how many are left. An operator can raise it with SHOPFLOOR_LIMITS__....",
        violated_policies=names, retry_after_s=wait_s,
    )  # fmt: skip


def _on(windows: Iterable[Window]) -> list[Window]:
    return [window for window in windows if window.quota.limit]
