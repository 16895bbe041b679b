"""Second factors and sign-in policies over HTTP. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import SIGNED_IN, Require, access_state
from shopfloor.domain.accounts import factors_enrol, factors_policy
from shopfloor.domain.accounts.desk import factor_desk
from shopfloor.domain.accounts.errors import FreshSignInNeeded, TooManyAttempts
from shopfloor.domain.accounts.factors_enrol import CodeWrong, FactorThere, LastFactorKept
from shopfloor.domain.accounts.models_factors import SignInPolicy
from shopfloor.domain.accounts.oidc_errors import LastWayInKept
from shopfloor.domain.accounts.passkeys import PasskeyNotTaken
from shopfloor.domain.accounts.schemas_factors import (
    FactorAdded,
    FactorsReply,
    PasskeyAdded,
    PasskeyNew,
    SignInPolicyBody,
    SignInPolicyReply,
    TotpCode,
    TotpReply,
    factors_reply,
    passkey_reply,
    policy_reply,
)
from shopfloor.domain.accounts.sessions import require_fresh, strengthen
from shopfloor.infra.tx import Tx, begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.openapi import problems

router = APIRouter(prefix="/api/v1")

# Also while the session may do nothing but this: it is how it gets out.
Anybody = Annotated[Principal, Depends(Require(SIGNED_IN, while_restricted=True))]
MemberEditor = Annotated[Principal, Depends(Require("member.edit", whole_organization=True))]
OrganizationReader = Annotated[Principal, Depends(Require("organization.read"))]
OrganizationEditor = Annotated[Principal, Depends(Require("organization.edit", whole_organization=True))]
_NO_STORE = {"Cache-Control": "no-store"}
_NEW = problems(FreshSignInNeeded, FactorThere)
_GOING = problems(FreshSignInNeeded, LastFactorKept)


@router.get("/me/factors", tags=["me"])
async def get_factors(request: Request, principal: Anybody) -> FactorsReply:
    """Your second factors, and whether your organization asks for one."""
    async with begin(access_state(request).store, principal) as tx:
        return factors_reply(await factors_enrol.list_factors(tx, _person(tx)))


@router.post("/me/factors/totp", tags=["me"], status_code=201, responses=_NEW)
async def post_totp(request: Request, response: Response, principal: Anybody) -> TotpReply:
    """Begin with an authenticator app: its secret, shown this once. It counts from its first code on."""
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        enrolment = await factors_enrol.enrol_totp(tx, factor_desk(request), _person(tx))
    response.headers.update(_NO_STORE)
    return TotpReply.model_validate(enrolment)


@router.post("/me/factors/totp/confirm", tags=["me"], responses=problems(FreshSignInNeeded, CodeWrong, TooManyAttempts))
async def post_totp_confirm(request: Request, response: Response, body: TotpCode, principal: Anybody) -> FactorAdded:
    """The first code of the app: from now on it is asked for at sign-in. Keep the recovery codes of the answer."""
    desk = factor_desk(request)
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        user_id = _person(tx)
        right = await factors_enrol.confirm_totp(tx, desk, user_id, body.code)
        codes = await factors_enrol.first_recovery_codes(tx, desk, user_id) if right else []
        if right:
            await _proved(tx, "totp")
    if not right:  # after the commit: a wrong code is counted
        raise CodeWrong(
            "The code is not right. Wait for the next one, see that the clocks of both devices are right, and send it."
        )
    response.headers.update(_NO_STORE)
    return FactorAdded(recovery_codes=codes)


@router.delete("/me/factors/totp", tags=["me"], status_code=204, responses=_GOING)
async def delete_totp(request: Request, principal: Anybody) -> None:
    """Remove the authenticator app, and the recovery codes if nothing else is left."""
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        await factors_enrol.remove_totp(tx, _person(tx))


@router.post("/me/factors/recovery-codes", tags=["me"], status_code=201, responses=problems(FreshSignInNeeded))
async def post_recovery_codes(request: Request, response: Response, principal: Anybody) -> FactorAdded:
    """Ten new recovery codes, shown this once; the old ones are worth nothing from now on."""
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        codes = await factors_enrol.new_recovery_codes(tx, factor_desk(request), _person(tx))
    response.headers.update(_NO_STORE)
    return FactorAdded(recovery_codes=codes)


@router.post("/me/factors/passkeys/options", tags=["me"], responses=problems(FreshSignInNeeded))
async def post_passkey_options(request: Request, principal: Anybody) -> dict[str, Any]:
    """For the browser's `navigator.credentials.create()`; five minutes, once, for you alone."""
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        return await factors_enrol.passkey_options(tx, factor_desk(request), _person(tx))


@router.post(
    "/me/factors/passkeys",
    tags=["me"],
    status_code=201,
    responses=problems(FreshSignInNeeded, FactorThere, PasskeyNotTaken),
)
async def post_passkey(request: Request, response: Response, new: PasskeyNew, principal: Anybody) -> PasskeyAdded:
    """Add what the browser made. It signs you in from now on, by itself or as the second factor."""
    desk = factor_desk(request)
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        user_id = _person(tx)
        added = await factors_enrol.add_passkey(tx, desk, user_id, new.name, new.credential.as_json())
        codes = await factors_enrol.first_recovery_codes(tx, desk, user_id)
        await _proved(tx, "passkey")
    response.headers.update(_NO_STORE)
    return PasskeyAdded(passkey=passkey_reply(added), recovery_codes=codes)


@router.delete("/me/factors/passkeys/{passkey_id}", tags=["me"], status_code=204, responses=_GOING)
async def delete_passkey(request: Request, passkey_id: UUID, principal: Anybody) -> None:
    """Remove a passkey: it signs nobody in any more."""
    async with begin(access_state(request).store, principal) as tx:
        require_fresh(tx)
        await factors_enrol.remove_passkey(tx, _person(tx), passkey_id)


@router.delete("/members/{user_id}/factors", tags=["members"], status_code=204)
async def delete_member_factors(request: Request, user_id: UUID, principal: MemberEditor) -> None:
    """Take all second factors of a member away, who has lost them. Not of somebody of a higher role."""
    async with begin(access_state(request).store, principal) as tx:
        await factors_enrol.reset_member(tx, user_id)


@router.get("/organizations/current/sign-in-policy", tags=["organizations"], response_model=SignInPolicyReply)
async def get_sign_in_policy(request: Request, response: Response, principal: OrganizationReader) -> Any:
    """What the organization asks of those who sign in."""
    async with begin(access_state(request).store, principal) as tx:
        policy = await factors_policy.find_policy(tx)
    etag = _tag(tx, policy)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or policy_reply(policy)


@router.put(
    "/organizations/current/sign-in-policy",
    tags=["organizations"],
    responses=problems(PreconditionFailed, LastWayInKept),
)
async def put_sign_in_policy(
    request: Request, response: Response, body: SignInPolicyBody, principal: OrganizationEditor
) -> SignInPolicyReply:
    """Replace it as a whole. With `If-Match`: only if nobody changed it since."""
    async with begin(access_state(request).store, principal) as tx:
        policy = await factors_policy.find_policy(tx)
        require_match(request, _tag(tx, policy), optional=True)
        changed = await factors_policy.set_policy(tx, policy, body.model_dump())
    response.headers.update(cache_headers(_tag(tx, changed)))
    return policy_reply(changed)


def _tag(tx: Tx, policy: SignInPolicy) -> str:
    """With the organization in it: one address shows each its own, so that another's copy never passes for it."""
    return etag_of(policy.version, variant=tx.organization_id.hex[-12:])


def _person(tx: Tx) -> UUID:
    """Whose factors these are: a key's are its person's."""
    return tx.principal.user_id or tx.principal.id


async def _proved(tx: Tx, method: str) -> None:
    """This session has shown the new factor: it is no longer limited to enrolling one."""
    if tx.principal.session_id is not None:
        await strengthen(tx, tx.principal.session_id, method)
