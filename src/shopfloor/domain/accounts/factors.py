"""Second factors: which a person has, whether one is asked for, and whether what they show proves one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from shopfloor.base.errors import NotSignedIn
from shopfloor.domain.accounts import passkeys, recovery, store_factors, totp
from shopfloor.domain.accounts.errors import TooManyAttempts
from shopfloor.domain.accounts.models_factors import FactorKind, Passkey, Standing
from shopfloor.domain.accounts.passkeys import KnownPasskey, RelyingParty
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.tx import Tx

_TOTP: Final = register_sealed("totp_secrets", "sealed_secret", id_column="user_id")

FREE_TRIES: Final = 5  # before each further wrong code costs a pause
_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(minutes=15)  # 100 tries a day, each 3 in a million


@dataclass(frozen=True, slots=True)
class FactorDesk:
    """What checking a factor takes beside the database."""

    sealer: Sealer = field(repr=False)
    site: RelyingParty


async def standing(tx: Tx, user_id: UUID) -> Standing:
    """What the person has and what is asked of them today."""
    enrolled: set[FactorKind] = set()
    found = await store_factors.totp(tx, user_id)
    if found is not None and found.confirmed_at is not None:
        enrolled.add("totp")
    if await store_factors.passkeys(tx, user_id):
        enrolled.add("passkey")
    if enrolled and await store_factors.recovery_codes_left(tx, user_id):
        enrolled.add("recovery")  # alone they are no factor: they stand in for one that was lost
    policy = await store_factors.policy(tx, tx.organization_id)
    person = await store_factors.person(tx, user_id)
    required = person is not None and policy.asks_for_factor(person["created_at"], tx.clock.now())
    return Standing(frozenset(enrolled), required)


async def check(tx: Tx, desk: FactorDesk, user_id: UUID, proof: Mapping[str, Any]) -> bool:
    """Whether `proof`, `{kind: totp | recovery, code}` or `{kind: passkey, passkey}`, is a second factor of the person.

    Commit the transaction in both cases: what was right is used up with it, what was wrong is counted.
    Raises: TooManyAttempts, without a look at the code.
    """
    match proof.get("kind"):
        case "totp":
            return await _counted(tx, user_id, await _totp_right(tx, desk, user_id, str(proof.get("code", ""))))
        case "recovery":
            return await _counted(tx, user_id, await _recovery_right(tx, desk, user_id, str(proof.get("code", ""))))
        case "passkey":
            return await _passkey_right(tx, desk, user_id, proof.get("passkey") or {})
        case _:
            return False


async def passkey_request(tx: Tx, desk: FactorDesk, user_id: UUID) -> dict[str, Any]:
    """What the browser is asked for a passkey as second factor: one of this person's, in five minutes, once."""
    known = await store_factors.passkeys(tx, user_id)
    challenge = passkeys.new_challenge(desk.sealer, second_factor_of(user_id), tx.clock.now())
    allowed = [each.credential_id for each in known]
    return passkeys.authentication_options(desk.site, challenge, allowed=allowed, verify_user=False)


def second_factor_of(user_id: UUID) -> str:
    """The purpose of a challenge."""
    return f"second factor/{user_id}"


async def refuse_throttled(tx: Tx, user_id: UUID) -> None:
    """Other attempts of the same person wait until this transaction has ended. Raises: TooManyAttempts."""
    _, blocked_until = await store_factors.attempts(tx, user_id)
    now = tx.clock.now()
    if blocked_until is not None and blocked_until > now:
        wait_s = int((blocked_until - now).total_seconds()) + 1
        raise TooManyAttempts(
            f"Too many wrong codes. Wait {wait_s} s, then try the code your app shows then; a passkey works meanwhile.",
            retry_after_s=wait_s,
        )


async def note_outcome(tx: Tx, user_id: UUID, *, right: bool) -> None:
    """A right code forgets the wrong ones before it; after five wrong ones each further costs twice the pause."""
    if right:
        await store_factors.note_attempts(tx, user_id, 0, None)
        return
    failures, _ = await store_factors.attempts(tx, user_id)
    await store_factors.note_attempts(tx, user_id, failures + 1, pause_until(failures + 1, tx.clock.now()))


def pause_until(failures: int, now: datetime) -> datetime | None:
    """Until when nothing more is tried after so many wrong codes in a row."""
    if failures < FREE_TRIES:
        return None
    doublings = min(failures - FREE_TRIES, 10)
    return now + min(_FIRST_PAUSE * 2**doublings, _LONGEST_PAUSE)


async def use_passkey(
    tx: Tx, desk: FactorDesk, known: Passkey, credential: Mapping[str, Any], *, purpose: str, verify_user: bool
) -> None:
    """An answer to a challenge of ours, made with `known`: used up. Raises: NotSignedIn, the same whatever is wrong."""
    challenge = passkeys.challenge_of(credential)
    ends_at = passkeys.open_challenge(desk.sealer, purpose, challenge, tx.clock.now())
    key = KnownPasskey(known.credential_id, known.public_key, known.sign_count)
    count = passkeys.verified_authentication(desk.site, challenge, credential, key, verify_user=verify_user)
    first_time = await store_factors.use_challenge(tx, hashlib.sha256(challenge).digest(), ends_at)
    if not first_time or not await store_factors.use_passkey(tx, known, count):
        raise NotSignedIn(passkeys.REFUSAL)


async def _counted(tx: Tx, user_id: UUID, right: bool) -> bool:  # noqa: FBT001 - the outcome itself
    await note_outcome(tx, user_id, right=right)
    return right


async def _totp_right(tx: Tx, desk: FactorDesk, user_id: UUID, code: str) -> bool:
    await refuse_throttled(tx, user_id)
    found = await store_factors.totp(tx, user_id)
    if found is None or found.confirmed_at is None:
        return False
    secret = await store_factors.opened(tx, desk.sealer, totp_place(user_id), found.sealed_secret)
    step = totp.matching_step(secret, code, tx.clock.now())
    return step is not None and await store_factors.use_step(tx, user_id, step, sealed_secret=found.sealed_secret)


async def _recovery_right(tx: Tx, desk: FactorDesk, user_id: UUID, code: str) -> bool:
    await refuse_throttled(tx, user_id)
    right = await store_factors.use_recovery_code(tx, user_id, recovery.fingerprint(desk.sealer, user_id, code))
    if right:
        left = await store_factors.recovery_codes_left(tx, user_id)
        await tx.record("recovery-code.used", "user", user_id, after={"left": left})
    return right


async def _passkey_right(tx: Tx, desk: FactorDesk, user_id: UUID, credential: Mapping[str, Any]) -> bool:
    """Not throttled: nobody guesses a signature."""
    try:
        known = await store_factors.passkey_by_credential(tx, passkeys.credential_id_of(credential))
        if known is None or known.user_id != user_id:
            return False
        purpose = second_factor_of(user_id)
        await use_passkey(tx, desk, known, credential, purpose=purpose, verify_user=False)
    except NotSignedIn:
        return False
    return True


def totp_place(user_id: UUID) -> str:
    """The row and column that the secret is bound to."""
    return _TOTP.place(user_id)
