"""A person's own second factors: added with a first proof, listed, replaced, removed; reset by an admin."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from shopfloor.domain.access.ceiling import check_may_give
from shopfloor.domain.accounts import factors, passkeys, recovery, store_factors, totp
from shopfloor.domain.accounts.factors import FactorDesk
from shopfloor.domain.accounts.models_factors import Passkey, Standing
from shopfloor.infra.tx import Tx

MOST_PASSKEYS: Final = 20


class FactorThere(Conflict):
    """An authenticator app is set up already."""

    title = "There is a second factor of this kind already"


class FactorUnknown(NotFound):
    """No factor like that, or it is somebody else's."""

    title = "There is no such second factor"


class LastFactorKept(Conflict):
    """The organization asks everybody for a second factor, and this is the only one."""

    title = "The last second factor stays"


class CodeWrong(InvalidInput):
    """Not the code that the app shows now, or it was used already."""

    title = "The code is not right"


@dataclass(frozen=True, slots=True)
class Factors:
    """What a person has."""

    standing: Standing
    totp_since: datetime | None
    passkeys: list[Passkey]
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class TotpEnrolment:
    """What an authenticator app needs, shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def list_factors(tx: Tx, user_id: UUID) -> Factors:
    """All of one person's."""
    found = await store_factors.totp(tx, user_id)
    return Factors(
        standing=await factors.standing(tx, user_id),
        totp_since=found.confirmed_at if found else None,
        passkeys=await store_factors.passkeys(tx, user_id),
        recovery_codes_left=await store_factors.recovery_codes_left(tx, user_id),
    )


async def enrol_totp(tx: Tx, desk: FactorDesk, user_id: UUID) -> TotpEnrolment:
    """A new secret; it counts from its first code on. Raises: FactorThere."""
    person = await _person(tx, user_id)
    secret = totp.new_secret()
    kept = await store_factors.sealed(tx, desk.sealer, factors.totp_place(user_id), secret)
    if not await store_factors.add_totp(tx, user_id, kept):
        raise FactorThere(
            "An authenticator app is set up already. Remove it first: DELETE /api/v1/me/factors/totp, or "
            "`shopfloor mfa remove totp`."
        )
    uri = totp.enrolment_uri(secret, account=person["email"], issuer=f"{desk.site.name} ({desk.site.id})")
    return TotpEnrolment(secret, uri)


async def confirm_totp(tx: Tx, desk: FactorDesk, user_id: UUID, code: str) -> bool:
    """False for a wrong code: commit then too, so that it is counted. Raises: FactorUnknown, TooManyAttempts."""
    await factors.refuse_throttled(tx, user_id)
    found = await store_factors.totp(tx, user_id)
    if found is None or found.confirmed_at is not None:
        raise FactorUnknown("There is no authenticator app to confirm. Begin with POST /api/v1/me/factors/totp.")
    secret = await store_factors.opened(tx, desk.sealer, factors.totp_place(user_id), found.sealed_secret)
    step = totp.matching_step(secret, code, tx.clock.now())
    right = step is not None and await store_factors.use_step(
        tx, user_id, step, sealed_secret=found.sealed_secret, confirm=True
    )
    await factors.note_outcome(tx, user_id, right=right)
    if right:
        await tx.record("factor.added", "user", user_id, after={"kind": "totp"})
    return right


async def first_recovery_codes(tx: Tx, desk: FactorDesk, user_id: UUID) -> list[str]:
    """With the first factor; empty where there are codes already."""
    if await store_factors.recovery_codes_left(tx, user_id):
        return []
    return await new_recovery_codes(tx, desk, user_id)


async def new_recovery_codes(tx: Tx, desk: FactorDesk, user_id: UUID) -> list[str]:
    """Ten in place of all there were, shown once. Raises: FactorUnknown where there is no factor to stand in for."""
    if not (await factors.standing(tx, user_id)).enrolled:
        raise FactorUnknown("Recovery codes stand in for a second factor, and there is none. Set one up first.")
    codes = recovery.mint()
    hashes = [recovery.fingerprint(desk.sealer, user_id, code) for code in codes]
    await store_factors.replace_recovery_codes(tx, user_id, hashes)
    await tx.record("recovery-codes.replaced", "user", user_id, after={"codes": len(codes)})
    return codes


async def passkey_options(tx: Tx, desk: FactorDesk, user_id: UUID) -> dict[str, Any]:
    """What the browser is asked to make a passkey. Raises: InvalidInput for who has too many."""
    person, known = await _person(tx, user_id), await store_factors.passkeys(tx, user_id)
    _refuse_too_many(known)
    challenge = passkeys.new_challenge(desk.sealer, _adding(user_id), tx.clock.now())
    return passkeys.registration_options(
        desk.site,
        challenge,
        user_id=user_id,
        user_name=person["email"],
        existing=[each.credential_id for each in known],
    )


async def add_passkey(tx: Tx, desk: FactorDesk, user_id: UUID, name: str, credential: Mapping[str, Any]) -> Passkey:
    """The browser's answer to `passkey_options`. Raises: PasskeyNotTaken, NotSignedIn, FactorThere, InvalidInput."""
    _refuse_too_many(await store_factors.passkeys(tx, user_id))
    challenge = passkeys.challenge_of(credential)
    ends_at = passkeys.open_challenge(desk.sealer, _adding(user_id), challenge, tx.clock.now())
    new = passkeys.verified_registration(desk.site, challenge, credential)
    if not await store_factors.use_challenge(tx, hashlib.sha256(challenge).digest(), ends_at):
        raise passkeys.PasskeyNotTaken("These options were answered already. Ask for new ones and try again.")
    added = await store_factors.add_passkey(tx, user_id, name, new)
    if added is None:
        raise FactorThere("This passkey is known already. Use it, or let the device make another one.")
    await tx.record("factor.added", "user", user_id, after={"kind": "passkey", "passkey_id": str(added.id)})
    return added


async def remove_totp(tx: Tx, user_id: UUID) -> None:
    """Raises: FactorUnknown, LastFactorKept."""
    if not await store_factors.remove_totp(tx, user_id):
        raise FactorUnknown("No authenticator app is set up.")
    await _removed(tx, user_id, {"kind": "totp"})


async def remove_passkey(tx: Tx, user_id: UUID, passkey_id: UUID) -> None:
    """Raises: FactorUnknown, LastFactorKept."""
    if not await store_factors.remove_passkey(tx, user_id, passkey_id):
        raise FactorUnknown(f"You have no passkey {passkey_id}. GET /api/v1/me/factors lists yours.")
    await _removed(tx, user_id, {"kind": "passkey", "passkey_id": str(passkey_id)})


async def reset_member(tx: Tx, user_id: UUID) -> None:
    """Take every second factor of a member away, as for who lost them all.

    Raises: PermissionDenied for somebody of a higher role, NotFound.
    """
    tx.require("member.edit")
    member = await store_factors.person(tx, user_id)
    if member is None:
        raise NotFound(f"There is no member {user_id} in this organization.")
    try:  # whoever could sign in as them afterwards may no less than they
        await check_may_give(tx, member["role"])
    except PermissionDenied as error:
        raise PermissionDenied(
            f"Nobody resets the second factor of somebody of a higher role ({member['role']}). Ask an owner.",
            permission="member.edit", lacking=error.facts.get("lacking"),
        ) from error  # fmt: skip
    before = sorted((await factors.standing(tx, user_id)).enrolled)
    await store_factors.remove_totp(tx, user_id)
    await store_factors.remove_passkeys(tx, user_id)
    await store_factors.replace_recovery_codes(tx, user_id, [])
    await tx.record("factors.reset", "user", user_id, before={"factors": before}, after={"factors": []})


async def _removed(tx: Tx, user_id: UUID, what: dict[str, str]) -> None:
    left = await factors.standing(tx, user_id)
    if not left.enrolled:
        if left.required:
            raise LastFactorKept(
                "Your organization asks everybody for a second factor, and this is your only one. Add another, then "
                "remove this one."
            )
        await store_factors.replace_recovery_codes(tx, user_id, [])
    await tx.record("factor.removed", "user", user_id, before=what)


async def _person(tx: Tx, user_id: UUID) -> dict[str, Any]:
    person = await store_factors.person(tx, user_id)
    if person is None:
        raise NotFound(f"There is no member {user_id} in this organization.")
    return person


def _refuse_too_many(known: list[Passkey]) -> None:
    if len(known) >= MOST_PASSKEYS:
        raise InvalidInput(f"A person has {MOST_PASSKEYS} passkeys at most. Remove one that isn't used any more.")


def _adding(user_id: UUID) -> str:
    return f"passkey to add/{user_id}"
