"""Guessing takes time: attempts are counted by account and by address, in the database that all processes share."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shopfloor.domain.accounts.errors import TooManyAttempts
from shopfloor.infra.origin import origin
from shopfloor.infra.tx import Store, Tx, begin_system

_FORGOTTEN: Final = timedelta(hours=1)  # since the last attempt
_LONGEST_PAUSE_S: Final = 900


@dataclass(frozen=True, slots=True)
class Allowance:
    """Attempts before the first pause, of one second; each further failure doubles it, up to 15 minutes."""

    free: int


_ACCOUNT: Final = Allowance(free=5)
_ADDRESS: Final = Allowance(free=30)  # many people may share one


async def count_attempt(store: Store, account: str) -> None:
    """Count an attempt as failed before it is looked at: of many at the same moment no more pass than of one by one.

    `account` is whatever was typed: an account that doesn't exist waits as long as one that does.
    Raises: TooManyAttempts.
    """
    async with begin_system(store) as tx:
        for who, allowance in sorted(_counted(account), key=lambda pair: pair[0]):  # one order: no two block each other
            await _count(tx, who, allowance)


async def forgive(store: Store, account: str) -> None:
    """The attempt was right: the account starts anew, and the address has one failure less."""
    async with begin_system(store) as tx:
        (by_account, _), *by_address = _counted(account)
        await tx.execute("delete from sign_in_attempts where who = %s", (by_account,))
        for who, _ in by_address:
            await tx.execute("update sign_in_attempts set failures = greatest(failures - 1, 0) where who = %s", (who,))


async def _count(tx: Tx, who: bytes, allowance: Allowance) -> None:
    now = tx.clock.now()
    await tx.execute(
        "insert into sign_in_attempts (who, organization_id, failures, last_at) "
        "select %s, id, 0, %s from organizations order by created_at limit 1 on conflict (who) do nothing",
        (who, now),
    )
    row = await tx.one(
        "select failures, last_at, blocked_until from sign_in_attempts where who = %s for update", (who,)
    )
    if row is None:
        return  # no organization yet: nobody can sign in
    if row["blocked_until"] is not None and row["blocked_until"] > now:
        wait_s = int((row["blocked_until"] - now).total_seconds()) + 1
        raise TooManyAttempts(
            f"Too many attempts to sign in. Wait {wait_s} s, then try again; a forgotten password is replaced with "
            "POST /api/v1/auth/password/forgot.",
            retry_after_s=wait_s,
        )
    failures = 1 if now - row["last_at"] > _FORGOTTEN else row["failures"] + 1
    await tx.execute(
        "update sign_in_attempts set failures = %s, last_at = %s, blocked_until = %s where who = %s",
        (failures, now, _until(failures, allowance, now), who),
    )


def _until(failures: int, allowance: Allowance, now: datetime) -> datetime | None:
    over = failures - allowance.free
    return None if over < 0 else now + timedelta(seconds=min(2 ** min(over, 20), _LONGEST_PAUSE_S))


def _counted(account: str) -> list[tuple[bytes, Allowance]]:
    """By hash: neither what people type nor where they are is kept."""
    named = [(_hash(f"account {account.strip().lower()}"), _ACCOUNT)]
    return [*named, *([(_hash(f"address {where}"), _ADDRESS)] if (where := _network(origin().address)) else [])]


def _network(address: str) -> str:
    """An IPv6 client has a whole /64 of addresses."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
