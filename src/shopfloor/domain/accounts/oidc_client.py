"""The thin client of an OpenID Connect provider: its description, its keys, the exchange of a code.

Every address that it reaches goes through the guard of infra/outbound.py, sizes and times are bounded, redirects are
not followed. Source: OpenID Connect Discovery 1.0; RFC 6749, 4.1.3; RFC 7636; RFC 9207.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx2
from joserfc.jwk import Key

from shopfloor.base.clock import Clock
from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.accounts.oidc_errors import IdentityProviderAway
from shopfloor.domain.accounts.oidc_tokens import ALGORITHMS, TokenRefused, read_keys
from shopfloor.infra.outbound import (
    HostUnresolved,
    OutboundLimits,
    OutboundRules,
    Resolver,
    ResponseTooLarge,
    ResponseTooSlow,
    outbound_client,
    parse_url,
)
from shopfloor.infra.web.json_body import read_json

T = TypeVar("T")

LIMITS: Final = OutboundLimits(connect_s=5.0, read_s=5.0, total_s=10.0, max_response_bytes=512 * 1024)
_KEPT_S: Final = 3_600.0  # descriptions and keys
_AGAIN_S: Final = 60.0  # keys are not asked for more often than that, whatever tokens name
_MOST_KEPT: Final = 256  # providers
_OK: Final = 200
_REFUSED: Final = frozenset({400, 401, 403})
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    algorithms: tuple[str, ...]  # of ID tokens; those we take
    answers_with_issuer: bool  # RFC 9207
    takes_basic: bool  # client_secret_basic; else client_secret_post


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to the provider."""

    client_id: str
    secret: str | None = field(repr=False)  # None: a public client, PKCE alone


class IdentityClient:
    """One a process. `allow_private`: providers on private addresses and over plain HTTP, for one's own network."""

    def __init__(
        self,
        clock: Clock,
        *,
        allow_private: bool = False,
        limits: OutboundLimits = LIMITS,
        resolver: Resolver | None = None,
    ) -> None:
        schemes = frozenset({"https", "http"} if allow_private else {"https"})
        self.rules = OutboundRules(schemes, allow_private=allow_private)
        self.clock = clock
        self._limits, self._resolver = limits, resolver
        self._descriptions: _Kept[Discovered] = _Kept(clock)
        self._keys: _Kept[list[Key]] = _Kept(clock)

    async def discover(self, issuer: str, *, fresh: bool = False) -> Discovered:
        """The provider's description, an hour old at most. Raises: IdentityProviderAway, UrlRefused."""
        kept = None if fresh else self._descriptions.get(issuer, _KEPT_S)
        return kept or self._descriptions.put(issuer, await self._described(issuer))

    async def keys(self, provider: Discovered, *, fresh: bool = False) -> list[Key]:
        """Its signing keys; `fresh` asks again, once a minute at most. Raises: IdentityProviderAway, UrlRefused."""
        kept = self._keys.get(provider.jwks_uri, _AGAIN_S if fresh else _KEPT_S)
        if kept is not None:
            return kept
        try:
            keys = read_keys(await self._json("GET", provider.jwks_uri))
        except TokenRefused as error:
            raise IdentityProviderAway(f"The keys of {provider.issuer} can't be used: {error}.") from error
        return self._keys.put(provider.jwks_uri, keys)

    async def exchange(
        self, provider: Discovered, client: Client, *, code: str, verifier: str, redirect_uri: str
    ) -> str:
        """The ID token for a code. Raises: TokenRefused where the provider refuses it; IdentityProviderAway."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }  # fmt: skip
        headers: dict[str, str] = {}
        if client.secret is None:
            form["client_id"] = client.client_id
        elif provider.takes_basic:
            headers["Authorization"] = _basic(client.client_id, client.secret)
        else:
            form |= {"client_id": client.client_id, "client_secret": client.secret}
        answer = await self._json("POST", provider.token_endpoint, form=form, headers=headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise IdentityProviderAway(f"{provider.issuer} gave no ID token. Does its client have the scope `openid`?")
        return token

    async def _described(self, issuer: str) -> Discovered:
        found = await self._json("GET", issuer.rstrip("/") + _WELL_KNOWN)
        if found.get("issuer") != issuer:  # to the letter: OpenID Connect Discovery, section 4.3
            raise IdentityProviderAway(
                f"The provider calls itself {found.get('issuer')!r}, not {issuer!r}. Set the issuer as it writes it."
            )
        offered = _texts(found, "id_token_signing_alg_values_supported")
        algorithms = tuple(name for name in ALGORITHMS if name in offered)
        if not algorithms:
            raise IdentityProviderAway(f"{issuer} signs with nothing that may be used here: {', '.join(ALGORITHMS)}.")
        methods = _texts(found, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Discovered(
            issuer=issuer,
            authorization_endpoint=self._address(found, "authorization_endpoint"),
            token_endpoint=self._address(found, "token_endpoint"),
            jwks_uri=self._address(found, "jwks_uri"),
            algorithms=algorithms,
            answers_with_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            takes_basic="client_secret_basic" in methods,
        )

    def _address(self, found: Mapping[str, Any], name: str) -> str:
        url = found.get(name)
        if not isinstance(url, str) or urlsplit(url).fragment:
            raise IdentityProviderAway(f"The provider names no {name}.")
        parse_url(url, self.rules)
        return url

    async def _json(
        self, method: str, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """One exchange. What a provider answers with an error is not told on: it may hold anything."""
        try:
            async with outbound_client(self.rules, limits=self._limits, resolver=self._resolver) as http:
                response = await http.request(
                    method, url, data=form, headers={"Accept": "application/json", **(headers or {})}
                )
        except (httpx2.HTTPError, ResponseTooLarge, ResponseTooSlow, HostUnresolved) as error:
            why = type(error).__name__
            raise IdentityProviderAway(f"{_host(url)} does not answer as it should: {why}. Try again.") from error
        if method == "POST" and response.status_code in _REFUSED:
            raise TokenRefused("the provider did not take the code")
        if response.status_code != _OK:
            raise IdentityProviderAway(f"{_host(url)} answered {response.status_code} instead of 200.")
        try:
            found = read_json(response.content)
        except ShopfloorError as error:
            raise IdentityProviderAway(f"{_host(url)} answered with something that is no JSON.") from error
        if not isinstance(found, dict):
            raise IdentityProviderAway(f"{_host(url)} answered with JSON that is no object.")
        return cast("dict[str, Any]", found)


class _Kept(Generic[T]):
    """The newest answers, a bounded number of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, name: str, life_s: float) -> T | None:
        at, answer = self._answers.get(name, (0.0, None))
        return answer if answer is not None and self._clock.monotonic() - at < life_s else None

    def put(self, name: str, answer: T) -> T:
        self._answers[name] = (self._clock.monotonic(), answer)
        self._answers.move_to_end(name)
        while len(self._answers) > _MOST_KEPT:
            self._answers.popitem(last=False)
        return answer


def authorization_url(
    provider: Discovered,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: list[str],
    state: str,
    nonce: str,
    verifier: str,
) -> str:
    """Where the browser is sent. Source: OpenID Connect Core 1.0, 3.1.2.1; RFC 7636, 4.3."""
    query = urlencode({
        "response_type": "code", "client_id": client_id, "redirect_uri": redirect_uri, "scope": " ".join(scopes),
        "state": state, "nonce": nonce, "code_challenge": challenge_of(verifier), "code_challenge_method": "S256",
    })  # fmt: skip
    return f"{provider.authorization_endpoint}{'&' if urlsplit(provider.authorization_endpoint).query else '?'}{query}"


def challenge_of(verifier: str) -> str:
    """S256. Source: RFC 7636, 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _basic(client_id: str, secret: str) -> str:
    """Source: RFC 6749, 2.3.1: both parts are form-encoded first."""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def _texts(found: Mapping[str, Any], name: str) -> list[str]:
    values = found.get(name)
    return [each for each in cast("list[Any]", values) if isinstance(each, str)] if isinstance(values, list) else []


def _host(url: str) -> str:
    return urlsplit(url).netloc
