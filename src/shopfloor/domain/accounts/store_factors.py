"""Every query about second factors and sign-in policies, inside the organization of the transaction's principal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.accounts.models_factors import Passkey, SignInPolicy, TotpSecret
from shopfloor.domain.accounts.passkeys import NewPasskey
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Tx

_PASSKEY = (
    "id, user_id, name, credential_id, public_key, sign_count, aaguid, backed_up, transports, created_at, last_used_at"
)
_POLICY = (
    "mfa_required, mfa_required_since, mfa_grace_days, password_allowed, link_by_verified_domain, session_idle_s, "
    "session_absolute_s, version"
)


async def sealed(tx: Tx, sealer: Sealer, place: str, secret: str) -> bytes:
    """For the row and column that `place` names."""
    return await sealer.seal(tx, tx.organization_id, place, secret)


async def opened(tx: Tx, sealer: Sealer, place: str, kept: bytes) -> str:
    """Raises: SealBroken."""
    return await sealer.open(tx, tx.organization_id, place, kept)


async def totp(tx: Tx, user_id: UUID) -> TotpSecret | None:
    """Confirmed or not."""
    row = await tx.one(
        "select user_id, sealed_secret, last_step, created_at, confirmed_at from totp_secrets where user_id = %s",
        (user_id,),
    )
    return TotpSecret(**row) if row else None


async def add_totp(tx: Tx, user_id: UUID, sealed_secret: bytes) -> bool:
    """In place of one that was never confirmed; False when there is one that was."""
    added = await tx.execute(
        "insert into totp_secrets (user_id, organization_id, sealed_secret) values (%s, %s, %s) "
        "on conflict (user_id) do update set sealed_secret = excluded.sealed_secret, last_step = 0, created_at = now() "
        "where totp_secrets.confirmed_at is null",
        (user_id, tx.organization_id, sealed_secret),
    )
    return added == 1


async def use_step(tx: Tx, user_id: UUID, step: int, *, sealed_secret: bytes, confirm: bool = False) -> bool:
    """Compare and set: of two requests with the same code one alone gets True; so does none for an older step."""
    used = await tx.execute(
        "update totp_secrets set last_step = %s, confirmed_at = coalesce(confirmed_at, %s) "
        "where user_id = %s and last_step < %s and sealed_secret = %s and (confirmed_at is null) = %s",
        (step, tx.clock.now() if confirm else None, user_id, step, sealed_secret, confirm),
    )
    return used == 1


async def remove_totp(tx: Tx, user_id: UUID) -> bool:
    """False when there was none."""
    return await tx.execute("delete from totp_secrets where user_id = %s", (user_id,)) == 1


async def replace_recovery_codes(tx: Tx, user_id: UUID, hashes: Sequence[bytes]) -> None:
    """The old ones are gone, used or not. None given: there are none any more."""
    await tx.execute("delete from recovery_codes where user_id = %s", (user_id,))
    await tx.execute(
        "insert into recovery_codes (code_hash, organization_id, user_id) select unnest(%s::bytea[]), %s, %s",
        (list(hashes), tx.organization_id, user_id),
    )


async def recovery_codes_left(tx: Tx, user_id: UUID) -> int:
    """How many were not used yet."""
    row = await tx.one(
        "select count(*) as left from recovery_codes where organization_id = %s and user_id = %s and used_at is null",
        (tx.organization_id, user_id),
    )
    assert row is not None
    return row["left"]


async def use_recovery_code(tx: Tx, user_id: UUID, code_hash: bytes) -> bool:
    """Compare and set, as `use_step`."""
    used = await tx.execute(
        "update recovery_codes set used_at = %s where code_hash = %s and user_id = %s and used_at is null",
        (tx.clock.now(), code_hash, user_id),
    )
    return used == 1


async def passkeys(tx: Tx, user_id: UUID) -> list[Passkey]:
    """Oldest first; a person has few."""
    rows = await tx.all(
        f"select {_PASSKEY} from passkeys where organization_id = %s and user_id = %s order by id limit 100",
        (tx.organization_id, user_id),
    )
    return [Passkey(**row) for row in rows]


async def passkey_by_credential(tx: Tx, credential_id: bytes) -> Passkey | None:
    """Whose ever it is."""
    row = await tx.one(f"select {_PASSKEY} from passkeys where credential_id = %s", (credential_id,))
    return Passkey(**row) if row else None


async def passkey_anywhere(tx: Tx, credential_id: bytes) -> tuple[UUID, Passkey] | None:
    """With its organization. Asked by the system itself: who signs in without a name has not said where."""
    row = await tx.one(f"select organization_id, {_PASSKEY} from passkeys where credential_id = %s", (credential_id,))
    return (row.pop("organization_id"), Passkey(**row)) if row else None


async def add_passkey(tx: Tx, user_id: UUID, name: str, new: NewPasskey) -> Passkey | None:
    """None when that credential is known already, whoever has it."""
    row = await tx.one(
        "insert into passkeys (id, organization_id, user_id, name, credential_id, public_key, sign_count, aaguid, "
        "backed_up, transports) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        f"on conflict (credential_id) do nothing returning {_PASSKEY}",
        (
            new_id(), tx.organization_id, user_id, name, new.credential_id, new.public_key, new.sign_count, new.aaguid,
            new.backed_up, new.transports,
        ),
    )  # fmt: skip
    return Passkey(**row) if row else None


async def use_passkey(tx: Tx, passkey: Passkey, sign_count: int) -> bool:
    """Compare and set: False when its counter has moved since `passkey` was read."""
    used = await tx.execute(
        "update passkeys set sign_count = %s, last_used_at = %s where id = %s and sign_count = %s",
        (sign_count, tx.clock.now(), passkey.id, passkey.sign_count),
    )
    return used == 1


async def remove_passkey(tx: Tx, user_id: UUID, passkey_id: UUID) -> bool:
    """False when the person has none of that id."""
    return await tx.execute("delete from passkeys where id = %s and user_id = %s", (passkey_id, user_id)) == 1


async def remove_passkeys(tx: Tx, user_id: UUID) -> int:
    """All of a person's; how many."""
    return await tx.execute("delete from passkeys where user_id = %s", (user_id,))


async def use_challenge(tx: Tx, challenge_hash: bytes, ends_at: datetime) -> bool:
    """Compare and set: a challenge is answered once. Those that have ended are forgotten on the way."""
    await tx.execute(
        "delete from used_challenges where organization_id = %s and ends_at < %s",
        (tx.organization_id, tx.clock.now()),
    )
    added = await tx.execute(
        "insert into used_challenges (challenge_hash, organization_id, ends_at) values (%s, %s, %s) "
        "on conflict do nothing",
        (challenge_hash, tx.organization_id, ends_at),
    )
    return added == 1


async def attempts(tx: Tx, user_id: UUID) -> tuple[int, datetime | None]:
    """Wrong codes since the last right one, and until when no more are taken. Others wait until this one has ended."""
    await tx.execute(
        "insert into factor_attempts (user_id, organization_id) values (%s, %s) on conflict do nothing",
        (user_id, tx.organization_id),
    )
    row = await tx.one("select failures, blocked_until from factor_attempts where user_id = %s for update", (user_id,))
    assert row is not None
    return row["failures"], row["blocked_until"]


async def note_attempts(tx: Tx, user_id: UUID, failures: int, blocked_until: datetime | None) -> None:
    """See `attempts`."""
    await tx.execute(
        "update factor_attempts set failures = %s, blocked_until = %s where user_id = %s",
        (failures, blocked_until, user_id),
    )


async def policy(tx: Tx, organization_id: UUID) -> SignInPolicy:
    """As it stands; the defaults where nobody set one. `tx` may be the system's."""
    row = await tx.one(f"select {_POLICY} from sign_in_policies where organization_id = %s", (organization_id,))
    return SignInPolicy(**row) if row else SignInPolicy()


async def write_policy(tx: Tx, old: SignInPolicy, fields: dict[str, Any]) -> bool:
    """False when it has changed since `old` was read."""
    written = await tx.execute(
        "insert into sign_in_policies as p (organization_id, mfa_required, mfa_required_since, mfa_grace_days, "
        "password_allowed, link_by_verified_domain, session_idle_s, session_absolute_s) "
        "values (%(organization_id)s, %(mfa_required)s, %(mfa_required_since)s, %(mfa_grace_days)s, "
        "%(password_allowed)s, %(link_by_verified_domain)s, %(session_idle_s)s, %(session_absolute_s)s) "
        "on conflict (organization_id) do update set mfa_required = excluded.mfa_required, "
        "mfa_required_since = excluded.mfa_required_since, mfa_grace_days = excluded.mfa_grace_days, "
        "password_allowed = excluded.password_allowed, link_by_verified_domain = excluded.link_by_verified_domain, "
        "session_idle_s = excluded.session_idle_s, session_absolute_s = excluded.session_absolute_s, "
        "version = p.version + 1, updated_at = now() where p.version = %(version)s",
        {**fields, "organization_id": tx.organization_id, "version": old.version},
    )
    return written == 1


async def person(tx: Tx, user_id: UUID) -> dict[str, Any] | None:
    """Id, address, role and since when: what this family of verbs asks of the table of people."""
    return await tx.one("select id, email, name, role, created_at, disabled_at from users where id = %s", (user_id,))
