"""There and back: a browser is sent to a provider and comes back signed in, once.

Source: RFC 6749, 4.1 (code flow); RFC 7636 (PKCE); OpenID Connect Core 1.0; RFC 9207 (issuer); RFC 9700 (security).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.access.secret_text import hash_of, looks_like_one, new_secret
from shopfloor.domain.accounts import oidc_people, oidc_providers, oidc_store
from shopfloor.domain.accounts.models import Pending, Signed
from shopfloor.domain.accounts.oidc_client import Client, Discovered, IdentityClient, authorization_url
from shopfloor.domain.accounts.oidc_errors import (
    IdentityNotWelcome,
    IdentityProviderAway,
    IdentityProviderUnknown,
    IdentityRefused,
    ReturnRefused,
)
from shopfloor.domain.accounts.oidc_models import Flow, IdentityProvider
from shopfloor.domain.accounts.oidc_tokens import Claims, Expected, KeyNotKnown, TokenRefused, verified_claims
from shopfloor.domain.accounts.people import acting_as, by_id
from shopfloor.domain.accounts.sessions import Lengths
from shopfloor.domain.accounts.sign_in import finish_first_factor
from shopfloor.infra.outbound import HostUnknown, UrlRefused
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, Tx, begin, begin_system

log = structlog.get_logger(__name__)

FLOW_LIFE: Final = timedelta(minutes=10)
_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,499}")  # visible ASCII without the backslash, which some read as /
_MOST_PARAMETER_CHARS: Final = 4_096
_WITH_SECOND_FACTOR: Final = "mfa"  # RFC 8176, section 2: several factors were used
REFUSED: Final = (
    "Sign-in through the provider did not come to its end: it took too long, was begun in another browser or was used "
    "already, or the provider's answer does not hold. Begin again from the sign-in page; if it stays so, an admin can "
    "look into the log under this request's id."
)
_UNKNOWN: Final = "There is no such identity provider, or it is switched off. Ask an admin where to sign in."


@dataclass(frozen=True, slots=True)
class SsoDesk:
    """What single sign-on takes beside the database."""

    sealer: Sealer = field(repr=False)
    client: IdentityClient
    redirect_uri: str  # the only one, registered with each provider
    lengths: Lengths


@dataclass(frozen=True, slots=True)
class Start:
    """What a flow begins with."""

    return_to: str = "/"
    browser: str | None = field(default=None, repr=False)  # the secret in its cookie, if it has one already
    link_session_id: UUID | None = None  # of who links an identity


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send the browser, and the secret that its cookie keeps meanwhile."""

    url: str = field(repr=False)
    browser: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Return:
    """The end: who came in and where to go on. `signed` None: an identity was linked."""

    signed: Signed | Pending | None
    return_to: str


async def depart(store: Store, desk: SsoDesk, provider_id: UUID, start: Start) -> Departure:
    """Raises: IdentityProviderUnknown, IdentityProviderAway, ReturnRefused."""
    return_to = checked_return(start.return_to)
    async with begin_system(store) as tx:
        organization_id = await oidc_store.organization_of_provider(tx, provider_id)
    if organization_id is None:
        raise IdentityProviderUnknown(_UNKNOWN)
    async with begin(store, _doorkeeper(organization_id)) as tx:
        provider = await _provider(tx, provider_id)
    with _reaching(provider):
        found = await desk.client.discover(provider.issuer)
    state, browser = new_secret(), start.browser if looks_like_one(start.browser or "") else new_secret()
    assert browser is not None
    async with begin(store, _doorkeeper(organization_id)) as tx:
        ends_at = tx.clock.now() + FLOW_LIFE
        flow = Flow(organization_id, provider_id, hash_of(browser), return_to, start.link_session_id, ends_at)
        await oidc_store.add_flow(tx, hash_of(state), flow)
    url = authorization_url(
        found,
        client_id=provider.client_id,
        redirect_uri=desk.redirect_uri,
        scopes=provider.scopes,
        state=state,
        nonce=_derived(desk, "nonce", browser, state),
        verifier=_derived(desk, "verifier", browser, state),
    )
    return Departure(url, browser)


async def arrive(store: Store, desk: SsoDesk, answer: Mapping[str, str], browser: str | None) -> Return:
    """The provider's answer, brought by a browser. Whatever comes of it, its state is used up.

    Raises: IdentityRefused, the same whatever doesn't hold; IdentityProviderAway, IdentityNotWelcome, IdentityTaken.
    """
    try:
        flow = await _taken(store, answer, browser)
        async with begin(store, _doorkeeper(flow.organization_id)) as tx:
            provider = await _provider(tx, flow.provider_id)
            client = await oidc_providers.client_of(tx, desk.sealer, provider)
        claims = await _claims(desk, provider, client, answer, browser or "")
    except (TokenRefused, IdentityProviderUnknown) as error:
        log.warning("identity.refused", why=str(error))
        raise IdentityRefused(REFUSED) from error
    if flow.link_session_id is not None:
        await _link(store, flow, provider, claims)
        return Return(None, flow.return_to)
    return Return(await _sign_in(store, desk, flow, provider, claims), flow.return_to)


def checked_return(path: str) -> str:
    """A path of this site. Raises: ReturnRefused for an address, or what a browser could read as one."""
    if not _PATH.fullmatch(path) or "//" in path.partition("?")[0]:
        raise ReturnRefused("return_to is where to go on after signing in: a path of this site, like /jobs?state=open.")
    return path


async def _taken(store: Store, answer: Mapping[str, str], browser: str | None) -> Flow:
    """The flow that this browser began. Raises: TokenRefused."""
    state = answer.get("state", "")
    if not looks_like_one(state) or not looks_like_one(browser or ""):
        raise TokenRefused("no state of ours, or no cookie")
    async with begin_system(store) as tx:
        organization_id = await oidc_store.organization_of_flow(tx, hash_of(state))
    if organization_id is None:
        raise TokenRefused("the state is not known, or was used")
    async with begin(store, _doorkeeper(organization_id)) as tx:
        flow, now = await oidc_store.take_flow(tx, hash_of(state)), tx.clock.now()
    if flow is None or flow.ends_at <= now:
        raise TokenRefused("the state is over, or was just used")
    if not hmac.compare_digest(flow.browser_hash, hash_of(browser or "")):
        raise TokenRefused("another browser began this")
    return flow


async def _claims(
    desk: SsoDesk, provider: IdentityProvider, client: Client, answer: Mapping[str, str], browser: str
) -> Claims:
    """What the provider says. Raises: TokenRefused, IdentityProviderAway."""
    expected = Expected(provider.issuer, provider.client_id, _derived(desk, "nonce", browser, answer["state"]))
    verifier = _derived(desk, "verifier", browser, answer["state"])
    with _reaching(provider):
        found = await desk.client.discover(provider.issuer)
        _check_answer(found, answer)
        token = await desk.client.exchange(
            found, client, code=answer["code"], verifier=verifier, redirect_uri=desk.redirect_uri
        )
        keys, now = await desk.client.keys(found), desk.client.clock.now()
        try:
            return verified_claims(token, keys, expected, now)
        except KeyNotKnown:
            return verified_claims(token, await desk.client.keys(found, fresh=True), expected, now)


def _check_answer(found: Discovered, answer: Mapping[str, str]) -> None:
    """Raises: TokenRefused."""
    issuer = answer.get("iss")
    if issuer != found.issuer and (issuer is not None or found.answers_with_issuer):
        raise TokenRefused("the answer is another issuer's")  # the mix-up attack: RFC 9207, section 2.4
    if "error" in answer:
        raise TokenRefused(f"the provider said {answer['error'][:100]!r}")
    if not 0 < len(answer.get("code", "")) <= _MOST_PARAMETER_CHARS:
        raise TokenRefused("the answer holds no code")


async def _sign_in(
    store: Store, desk: SsoDesk, flow: Flow, provider: IdentityProvider, claims: Claims
) -> Signed | Pending:
    async with begin(store, _doorkeeper(flow.organization_id)) as tx:
        arrival = await oidc_people.recognize(tx, provider, claims)
    async with begin(store, acting_as(flow.organization_id, arrival.user_id)) as tx:
        await oidc_people.admit(tx, provider, claims, arrival)
        person = await by_id(tx, arrival.user_id)
        if person is None:
            raise IdentityRefused(REFUSED)
        strong = provider.counts_as_second_factor and _WITH_SECOND_FACTOR in claims.methods
        method = f"oidc:{provider.name}"
        return await finish_first_factor(tx, person, method=method, strong=strong, lengths=desk.lengths)


async def _link(store: Store, flow: Flow, provider: IdentityProvider, claims: Claims) -> None:
    """To the account of the session that began it, if that is still signed in. Raises: IdentityNotWelcome."""
    async with begin(store, _doorkeeper(flow.organization_id)) as tx:
        user_id = await oidc_store.user_of_session(tx, flow.link_session_id)
    if user_id is None:
        raise IdentityNotWelcome("You signed out meanwhile. Sign in again, then link the identity.")
    async with begin(store, acting_as(flow.organization_id, user_id)) as tx:
        await oidc_people.link(tx, provider, claims, user_id)


async def _provider(tx: Tx, provider_id: UUID) -> IdentityProvider:
    """Raises: IdentityProviderUnknown."""
    found = await oidc_store.provider(tx, provider_id)
    if found is None or not found.enabled:
        raise IdentityProviderUnknown(_UNKNOWN)
    return found


@contextmanager
def _reaching(provider: IdentityProvider) -> Generator[None]:
    """Raises: IdentityProviderAway for an address that may not be used: where it leads is not told to strangers."""
    try:
        yield
    except (UrlRefused, HostUnknown) as error:
        log.warning("identity_provider.unreachable", identity_provider_id=str(provider.id), why=error.detail)
        raise IdentityProviderAway(
            "The identity provider can't be reached from here. An admin can try it: POST "
            f"/api/v1/identity-providers/{provider.id}/test says why."
        ) from error


def _derived(desk: SsoDesk, what: str, browser: str, state: str) -> str:
    """Nonce and verifier follow from what the browser alone has: nothing that is stored would do. 256 bits."""
    mac = desk.sealer.fingerprint(f"oidc {what}", f"{browser}/{state}")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _doorkeeper(organization_id: UUID) -> Principal:
    """Looks at one organization's own rows for somebody who isn't signed in yet. May nothing else."""
    return Principal("system", NIL, organization_id, name="sign-in")
