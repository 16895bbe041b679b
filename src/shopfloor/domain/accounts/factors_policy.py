"""What an organization asks of those who sign in: a second factor, passwords or not, how long a session holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from shopfloor.base.errors import PreconditionFailed
from shopfloor.domain.accounts import oidc_store, store_factors
from shopfloor.domain.accounts.models_factors import SignInPolicy
from shopfloor.domain.accounts.oidc_errors import LastWayInKept
from shopfloor.domain.accounts.sessions import tell
from shopfloor.infra.tx import Tx


async def policy_of(tx: Tx, organization_id: UUID) -> SignInPolicy:
    """As it stands, the defaults where nobody set one; `tx` may be the system's."""
    return await store_factors.policy(tx, organization_id)


async def find_policy(tx: Tx) -> SignInPolicy:
    """The principal's organization's. Raises: PermissionDenied."""
    tx.require("organization.read")
    return await store_factors.policy(tx, tx.organization_id)


async def set_policy(tx: Tx, old: SignInPolicy, wanted: dict[str, Any]) -> SignInPolicy:
    """`old` replaced. Asking for a second factor counts from now on, for sessions that are there as well.

    Raises: PermissionDenied; PreconditionFailed if somebody was faster; LastWayInKept for who would lock himself out.
    """
    tx.require("organization.edit")
    if not wanted["password_allowed"]:
        await _refuse_lock_out(tx)
    since = (old.mfa_required_since or tx.clock.now()) if wanted["mfa_required"] else None
    if not await store_factors.write_policy(tx, old, {**wanted, "mfa_required_since": since}):
        raise PreconditionFailed("Somebody changed the policy at the same moment. Read it again, then repeat this.")
    new = await store_factors.policy(tx, tx.organization_id)
    before, after = _plain(old), _plain(new)
    changed = sorted(name for name in after if before[name] != after[name])
    await tx.record(
        "sign-in-policy.changed", "organization", tx.organization_id,
        before={name: before[name] for name in changed}, after={name: after[name] for name in changed},
    )  # fmt: skip
    if new.mfa_required:
        tell(tx)
    return new


async def _refuse_lock_out(tx: Tx) -> None:
    """Whoever forbids passwords has tried another way in."""
    user_id = tx.principal.user_id
    if user_id is None or not (await store_factors.passkeys(tx, user_id) or await oidc_store.identities(tx, user_id)):
        raise LastWayInKept(
            "Without passwords you could not sign in any more yourself. Add a passkey or link an identity of a "
            "provider to your account first."
        )


def _plain(policy: SignInPolicy) -> dict[str, Any]:
    """As JSON; the version is no part of what was asked for."""
    plain = asdict(policy)
    since = plain.pop("mfa_required_since")
    plain.pop("version")
    return {**plain, "mfa_required_since": since.isoformat() if since else None}
