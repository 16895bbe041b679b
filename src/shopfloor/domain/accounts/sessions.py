"""Sessions: opened new at every sign-in, listed, ended one by one or all at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.access.secret_text import hash_of, new_secret
from shopfloor.domain.accounts.errors import FreshSignInNeeded, SessionUnknown
from shopfloor.domain.accounts.models import OpenedSession, Person, Session, SessionKind
from shopfloor.domain.accounts.settings import AccountsSettings
from shopfloor.infra.origin import origin
from shopfloor.infra.tx import Tx

_SESSION = "id, user_id, kind, methods, restricted, address, agent, created_at, signed_in_at, last_seen_at, ends_at"
_LIVE = "revoked_at is null and ends_at > %s and last_seen_at + make_interval(secs => idle_s) > %s"


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long sessions hold, in seconds."""

    idle_s: int
    absolute_s: int

    @classmethod
    def of(cls, settings: AccountsSettings) -> Lengths:
        """As it is set."""
        return cls(settings.idle_s, settings.absolute_s)


STANDARD = Lengths.of(AccountsSettings())
_FRESH = timedelta(minutes=10)


async def open_session(
    tx: Tx,
    user: Person,
    *,
    methods: list[str],
    kind: SessionKind,
    restricted: bool = False,
    lengths: Lengths = STANDARD,
) -> OpenedSession:
    """A session with a new id and new secrets: nothing that a client had before counts as it (no fixation).

    `tx` is one of the person's own organization. Source: OWASP ASVS 5.0, 7.2.4.
    """
    now, secret = tx.clock.now(), new_secret()
    opened = OpenedSession(
        id=new_id(),
        organization_id=tx.organization_id,
        user_id=user.id,
        kind=kind,
        restricted=restricted,
        ends_at=now + timedelta(seconds=lengths.absolute_s),
        secret=secret,
        refresh_token=new_secret() if kind == "token" else None,
    )
    here = origin()
    await tx.execute(
        "insert into sessions (id, organization_id, user_id, kind, secret_hash, methods, restricted, address, agent, "
        "created_at, signed_in_at, last_seen_at, idle_s, ends_at) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            opened.id, tx.organization_id, user.id, kind, hash_of(secret), methods, restricted, here.address,
            here.agent, now, now, now, lengths.idle_s, opened.ends_at,
        ),
    )  # fmt: skip
    if opened.refresh_token is not None:
        await add_refresh_token(tx, opened.id, opened.refresh_token)
    await tx.execute("update users set signed_in_at = %s where id = %s", (now, user.id))
    facts = {"kind": kind, "methods": methods, "restricted": restricted}
    await tx.record("session.opened", "session", opened.id, after=facts)
    return opened


async def add_refresh_token(tx: Tx, session_id: UUID, text: str) -> None:
    """One more of the session's family."""
    await tx.execute(
        "insert into refresh_tokens (id, organization_id, session_id, token_hash, created_at) "
        "values (%s, %s, %s, %s, %s)",
        (new_id(), tx.organization_id, session_id, hash_of(text), tx.clock.now()),
    )


def require_fresh(tx: Tx) -> None:
    """For what is sensitive: passwords, second factors, the address. Raises: FreshSignInNeeded, for keys too.

    This machine's owner, who acts without any session, passes. Source: OWASP ASVS 5.0, 7.5.1.
    """
    who = tx.principal
    if who.session_id is None and who.kind == "user":
        return
    if who.signed_in_at is None or tx.clock.now() - who.signed_in_at > _FRESH:
        raise FreshSignInNeeded(
            "This wants a person who signed in within the last ten minutes; a key can't do it. Sign in again with "
            "POST /api/v1/auth/sign-in, then repeat this.",
            within_s=int(_FRESH.total_seconds()),
        )


async def strengthen(tx: Tx, session_id: UUID, method: str) -> None:
    """The session's person proved one more factor just now: it is fresh, and no longer limited to enrolling one."""
    await tx.execute(
        "update sessions set restricted = false, signed_in_at = %s, methods = array_append(methods, %s) "
        "where id = %s and revoked_at is null and not %s = any(methods)",
        (tx.clock.now(), method, session_id, method),
    )


async def list_sessions(tx: Tx, user_id: UUID, *, after: UUID | None, limit: int) -> list[Session]:
    """Those that go on, oldest first."""
    now = tx.clock.now()
    rows = await tx.all(
        f"select {_SESSION} from sessions where organization_id = %s and user_id = %s "
        f"and (%s::uuid is null or id > %s) and {_LIVE} order by id limit %s",
        (tx.organization_id, user_id, after, after, now, now, limit),
    )
    return [Session(**row) for row in rows]


async def end_session(tx: Tx, session_id: UUID, *, user_id: UUID, why: str = "signed out") -> None:
    """One of a person's own. Raises: SessionUnknown."""
    if not await _end(tx, session_id, user_id, why):
        raise SessionUnknown("You have no such session, or it is over. GET /api/v1/me/sessions lists yours.")
    await tx.record("session.revoked", "session", session_id, after={"why": why})
    tell(tx)


async def end_sessions(tx: Tx, user_id: UUID, *, why: str, but: UUID | None = None) -> int:
    """Every session of a person, but perhaps one; how many there were. Their unused tickets and challenges go too."""
    ended = await tx.execute(
        "update sessions set revoked_at = %s, revoked_for = %s "
        "where user_id = %s and revoked_at is null and (%s::uuid is null or id <> %s)",
        (tx.clock.now(), why, user_id, but, but),
    )
    await tx.execute(
        "delete from one_time_tokens where user_id = %s and purpose in ('ticket', 'second-factor')", (user_id,)
    )
    await tx.record("sessions.revoked", "user", user_id, after={"sessions": ended, "why": why})
    tell(tx)
    return ended


async def end_member_sessions(tx: Tx, user_id: UUID) -> int:
    """Every session of somebody else of the organization. Raises: SessionUnknown, PermissionDenied."""
    tx.require("session.edit")
    if await tx.one("select 1 from users where id = %s", (user_id,)) is None:
        raise SessionUnknown(f"There is no member {user_id}. GET /api/v1/members lists them.")
    return await end_sessions(tx, user_id, why="ended by an admin")


def tell(tx: Tx) -> None:
    """Streams of the organization ask again, in every process, whether their holder may still watch."""
    tx.wake(f"access:{tx.organization_id}")


async def _end(tx: Tx, session_id: UUID, user_id: UUID, why: str) -> bool:
    now = tx.clock.now()
    ended = await tx.execute(
        "update sessions set revoked_at = %s, revoked_for = %s where id = %s and user_id = %s and revoked_at is null",
        (now, why, session_id, user_id),
    )
    return ended == 1
