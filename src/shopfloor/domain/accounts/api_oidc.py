"""Single sign-on and passkeys as the way in, over HTTP. Parse, call, shape. Open routes ask for nobody."""

from __future__ import annotations

from typing import Annotated, Any, cast
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import RedirectResponse

from shopfloor.base.errors import PermissionDenied, PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import SIGNED_IN, Require
from shopfloor.domain.accounts import oidc_domains, oidc_flow, oidc_people, oidc_providers, passkeys_sign_in
from shopfloor.domain.accounts.answers import set_cookie, sign_in_reply
from shopfloor.domain.accounts.desk import accounts_state, base_url, factor_desk
from shopfloor.domain.accounts.errors import FreshSignInNeeded, SignInRefused
from shopfloor.domain.accounts.factors_browser import FROM_HERE, browser_of, known_browser
from shopfloor.domain.accounts.models import Pending
from shopfloor.domain.accounts.oidc_domains import DomainThere, NameServiceAway
from shopfloor.domain.accounts.oidc_errors import (
    DomainNotProved,
    DomainUnknown,
    IdentityNotWelcome,
    IdentityProviderAway,
    IdentityProviderNameTaken,
    IdentityProviderUnknown,
    IdentityRefused,
    IdentityTaken,
    LastWayInKept,
    ReturnRefused,
)
from shopfloor.domain.accounts.oidc_flow import Return, SsoDesk, Start
from shopfloor.domain.accounts.oidc_schemas import (
    DomainNew,
    DomainReply,
    Identities,
    IdentityLinkNew,
    IdentityLinkReply,
    IdentityProviderChange,
    IdentityProviderNew,
    IdentityProviderReply,
    IdentityProviderTest,
    IdentityReply,
    PasskeySignIn,
    domain_reply,
    provider_reply,
)
from shopfloor.domain.accounts.schemas import SignInReply
from shopfloor.domain.accounts.sessions import require_fresh
from shopfloor.infra.outbound import HostUnknown, HostUnresolved, UrlRefused, check_url
from shopfloor.infra.tx import begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page
from shopfloor.infra.web.parameters import ANY_QUERY
from shopfloor.infra.web.rate_limiting import sign_in_limit

router = APIRouter(prefix="/api/v1")
_COUNTED = [Depends(sign_in_limit)]

_PROVIDERS = Keyset("identity-providers", str)
_DOMAINS = Keyset("verified-domains", str)
_CALLBACK = "/api/v1/auth/oidc/callback"
_MOST_PARAMETERS = 20

Anybody = Annotated[Principal, Depends(Require(SIGNED_IN))]
Editor = Annotated[Principal, Depends(Require("organization.edit", whole_organization=True))]
ReturnTo = Annotated[str, Query(max_length=500, description="Where to go on: a path of this site.")]
_AWAY = problems(IdentityProviderUnknown, IdentityProviderAway, ReturnRefused)
_ADDRESS = problems(UrlRefused, HostUnknown, HostUnresolved)


def _sso_desk(request: Request) -> SsoDesk:
    state = accounts_state(request)
    redirect_uri = base_url(request) + _CALLBACK
    return SsoDesk(state.sealer, state.identity.client, redirect_uri, state.accounts.lengths)


@router.get(
    "/auth/oidc/{provider_id}/start",
    tags=["auth"],
    dependencies=_COUNTED,
    status_code=303,
    responses=_AWAY,
    summary="Sign in by a provider",
)
async def get_start(request: Request, provider_id: UUID, return_to: ReturnTo = "/") -> RedirectResponse:
    """Open: sends the browser to the provider, and expects it back within ten minutes."""
    start = Start(return_to, browser_of(request))
    departure = await oidc_flow.depart(accounts_state(request).store, _sso_desk(request), provider_id, start)
    response = _redirect(departure.url)
    known_browser(request, response, departure.browser)
    return response


@router.get(
    "/auth/oidc/callback",
    tags=["auth"],
    dependencies=_COUNTED,
    status_code=303,
    responses=problems(IdentityRefused, IdentityProviderAway, IdentityNotWelcome, IdentityTaken),
    summary="Back from a provider",
    openapi_extra=ANY_QUERY,
)
async def get_callback(request: Request) -> RedirectResponse:
    """Open: the provider's answer, brought by the browser that began. Signed in, it goes on to `return_to`."""
    pairs = request.query_params.multi_items()
    answer = dict(pairs)
    if len(answer) != len(pairs) or len(pairs) > _MOST_PARAMETERS:  # RFC 6749, 3.1: none stands twice
        raise IdentityRefused(oidc_flow.REFUSED)
    arrived = await oidc_flow.arrive(accounts_state(request).store, _sso_desk(request), answer, browser_of(request))
    return _arrived(request, arrived)


@router.post("/auth/passkeys/options", tags=["auth"], dependencies=FROM_HERE, summary="Begin with a passkey")
async def post_passkey_options(request: Request, response: Response) -> dict[str, Any]:
    """Open: for the browser's `navigator.credentials.get()`; five minutes, once, in this browser."""
    browser = known_browser(request, response)
    response.headers["Cache-Control"] = "no-store"
    return passkeys_sign_in.request_for(factor_desk(request), accounts_state(request).store, browser)


@router.post(
    "/auth/passkeys/sign-in",
    tags=["auth"],
    dependencies=FROM_HERE,
    responses=problems(SignInRefused),
    summary="Sign in with a passkey",
)
async def post_passkey_sign_in(request: Request, response: Response, shown: PasskeySignIn) -> SignInReply:
    """Open: what the browser answered to the options. A passkey is two factors in one."""
    state = accounts_state(request)
    result = await passkeys_sign_in.sign_in(
        state.store, factor_desk(request), shown.credential.as_json(),
        browser=browser_of(request) or "", kind=shown.kind, lengths=state.accounts.lengths,
    )  # fmt: skip
    return await sign_in_reply(request, response, result)


@router.get("/me/identities", tags=["me"])
async def list_identities(request: Request, principal: Anybody) -> Identities:
    """The identities of providers that sign you in."""
    async with begin(accounts_state(request).store, principal) as tx:
        rows = await oidc_people.list_identities(tx, principal.user_id or principal.id)
    return Identities(items=[IdentityReply.model_validate(row) for row in rows])


@router.post("/me/identities", tags=["me"], responses=_AWAY | problems(FreshSignInNeeded))
async def post_identity(
    request: Request, response: Response, new: IdentityLinkNew, principal: Anybody
) -> IdentityLinkReply:
    """Link an identity to your account: send the browser to `url`; it comes back with the link made."""
    state = accounts_state(request)
    async with begin(state.store, principal) as tx:
        require_fresh(tx)
        if principal.session_id is None:
            raise PermissionDenied("Linking an identity takes a browser that is signed in. Sign in, then repeat this.")
        await oidc_people.require_own(tx, new.identity_provider_id)
    start = Start(new.return_to, browser_of(request), principal.session_id)
    departure = await oidc_flow.depart(state.store, _sso_desk(request), new.identity_provider_id, start)
    known_browser(request, response, departure.browser)
    response.headers["Cache-Control"] = "no-store"
    return IdentityLinkReply(url=departure.url)


@router.delete(
    "/me/identities/{identity_id}", tags=["me"], status_code=204, responses=problems(FreshSignInNeeded, LastWayInKept)
)
async def delete_identity(request: Request, identity_id: UUID, principal: Anybody) -> None:
    """From now on it signs nobody in."""
    async with begin(accounts_state(request).store, principal) as tx:
        require_fresh(tx)
        await oidc_people.unlink(tx, principal.user_id or principal.id, identity_id)


@router.get("/identity-providers", tags=["identity-providers"])
async def list_identity_providers(
    request: Request, principal: Editor, limit: Limit = 50, cursor: CursorText = None
) -> Page[IdentityProviderReply]:
    """By name, without their secrets."""
    keys = _PROVIDERS.read(cursor)
    async with begin(accounts_state(request).store, principal) as tx:
        rows = await oidc_providers.list_providers(tx, after=cast("str", keys[0]) if keys else None, limit=limit + 1)
    items, following = _PROVIDERS.page(rows, limit, keys=lambda row: (row.name,))
    return Page(items=[provider_reply(row) for row in items], next_cursor=following)


@router.post(
    "/identity-providers",
    tags=["identity-providers"],
    status_code=201,
    responses=_ADDRESS | problems(IdentityProviderNameTaken),
)
async def post_identity_provider(
    request: Request, response: Response, new: IdentityProviderNew, principal: Editor
) -> IdentityProviderReply:
    """Add one. Then try it: `POST /api/v1/identity-providers/{id}/test`."""
    state = accounts_state(request)
    await check_url(
        new.issuer, accounts_state(request).identity.client.rules
    )  # before a transaction: it asks the name service
    async with begin(state.store, principal) as tx:
        added = await oidc_providers.add_provider(tx, state.sealer, new.fields())
    location = f"/api/v1/identity-providers/{added.id}"
    response.headers.update({"Location": location, **cache_headers(etag_of(added.version))})
    return provider_reply(added)


@router.get("/identity-providers/{provider_id}", tags=["identity-providers"], response_model=IdentityProviderReply)
async def get_identity_provider(request: Request, response: Response, provider_id: UUID, principal: Editor) -> Any:
    """One, without its secret."""
    async with begin(accounts_state(request).store, principal) as tx:
        found = await oidc_providers.find_provider(tx, provider_id)
    etag = etag_of(found.version)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or provider_reply(found)


@router.patch(
    "/identity-providers/{provider_id}",
    tags=["identity-providers"],
    responses=_ADDRESS | problems(PreconditionFailed),
)
async def patch_identity_provider(
    request: Request, response: Response, provider_id: UUID, change: IdentityProviderChange, principal: Editor
) -> IdentityProviderReply:
    """Change one. With `If-Match`: only if nobody changed it since."""
    state, fields = accounts_state(request), change.fields()
    if "issuer" in fields:
        await check_url(fields["issuer"], state.identity.client.rules)
    async with begin(state.store, principal) as tx:
        found = await oidc_providers.find_provider(tx, provider_id)
        require_match(request, etag_of(found.version), optional=True)
        changed = await oidc_providers.change_provider(tx, state.sealer, found, fields)
    response.headers.update(cache_headers(etag_of(changed.version)))
    return provider_reply(changed)


@router.delete(
    "/identity-providers/{provider_id}",
    tags=["identity-providers"],
    status_code=204,
    responses=problems(PreconditionFailed),
)
async def delete_identity_provider(request: Request, provider_id: UUID, principal: Editor) -> None:
    """Remove one, with the identities it vouched for. Their people sign in another way."""
    async with begin(accounts_state(request).store, principal) as tx:
        found = await oidc_providers.find_provider(tx, provider_id)
        require_match(request, etag_of(found.version), optional=True)
        await oidc_providers.remove_provider(tx, found)


@router.post(
    "/identity-providers/{provider_id}/test",
    tags=["identity-providers"],
    responses=_ADDRESS | problems(IdentityProviderAway),
)
async def post_identity_provider_test(request: Request, provider_id: UUID, principal: Editor) -> IdentityProviderTest:
    """Fetch its description and keys now, past what is kept, and say what they hold."""
    client = accounts_state(request).identity.client
    async with begin(accounts_state(request).store, principal) as tx:
        found = await oidc_providers.find_provider(tx, provider_id)
    described = await client.discover(found.issuer, fresh=True)
    keys = await client.keys(described, fresh=True)
    return IdentityProviderTest(
        issuer=described.issuer,
        authorization_endpoint=described.authorization_endpoint,
        token_endpoint=described.token_endpoint,
        algorithms=list(described.algorithms),
        keys=len(keys),
        answers_with_issuer=described.answers_with_issuer,
        redirect_uri=base_url(request) + _CALLBACK,
    )


@router.get("/verified-domains", tags=["identity-providers"])
async def list_verified_domains(
    request: Request, principal: Editor, limit: Limit = 50, cursor: CursorText = None
) -> Page[DomainReply]:
    """The domains whose addresses may make accounts, and those that are to be proved, by name."""
    keys = _DOMAINS.read(cursor)
    async with begin(accounts_state(request).store, principal) as tx:
        rows = await oidc_domains.list_domains(tx, after=cast("str", keys[0]) if keys else None, limit=limit + 1)
    items, following = _DOMAINS.page(rows, limit, keys=lambda row: (row.domain,))
    return Page(items=[domain_reply(row) for row in items], next_cursor=following)


@router.post("/verified-domains", tags=["identity-providers"], status_code=201, responses=problems(DomainThere))
async def post_verified_domain(request: Request, new: DomainNew, principal: Editor) -> DomainReply:
    """Put a domain on the list: the answer has the TXT record to add to its DNS."""
    async with begin(accounts_state(request).store, principal) as tx:
        return domain_reply(await oidc_domains.add_domain(tx, new.domain))


@router.post(
    "/verified-domains/{domain_id}/verify",
    tags=["identity-providers"],
    responses=problems(DomainUnknown, DomainNotProved, NameServiceAway),
)
async def post_verify_domain(request: Request, domain_id: UUID, principal: Editor) -> DomainReply:
    """Look the record up now."""
    store = accounts_state(request).store
    async with begin(store, principal) as tx:
        domain = await oidc_domains.find_domain(tx, domain_id)
    texts = await accounts_state(request).identity.texts(oidc_domains.record_of(domain)[0])
    async with begin(store, principal) as tx:
        return domain_reply(await oidc_domains.prove_domain(tx, domain, texts))


@router.delete("/verified-domains/{domain_id}", tags=["identity-providers"], status_code=204)
async def delete_verified_domain(request: Request, domain_id: UUID, principal: Editor) -> None:
    """No new accounts come by it; those that are there stay."""
    async with begin(accounts_state(request).store, principal) as tx:
        await oidc_domains.remove_domain(tx, await oidc_domains.find_domain(tx, domain_id))


def _arrived(request: Request, arrived: Return) -> RedirectResponse:
    """On to where the browser wanted to go, or to the page that asks for the second factor."""
    match arrived.signed:
        case None:
            return _redirect(arrived.return_to)
        case Pending() as pending:
            # In the fragment, which is sent to no server and stands in no log.
            asked = urlencode({"challenge": pending.challenge, "kinds": ",".join(pending.kinds)})
            return _redirect(f"/sign-in?return_to={quote(arrived.return_to, safe='')}#{asked}")
        case signed:
            response = _redirect(arrived.return_to)
            set_cookie(request, response, signed.session)
            return response


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store"})
