"""Refresh tokens: each is good for one use; one used twice was stolen, and its whole family ends.

Source: RFC 9700, section 4.14.2 (refresh token rotation).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from shopfloor.base.errors import NotSignedIn
from shopfloor.domain.access.secret_text import hash_of, looks_like_one, new_secret
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.domain.accounts.errors import RefreshRaced
from shopfloor.domain.accounts.models import OpenedSession
from shopfloor.domain.accounts.people import acting_as
from shopfloor.domain.accounts.sessions import add_refresh_token, end_session
from shopfloor.infra.tx import Tx, begin, begin_system

_GRACE = timedelta(seconds=10)  # for two tabs that come with the same token at the same moment
_REFUSAL = "The refresh token is wrong, used, or its session is over. Sign in again with POST /api/v1/auth/sign-in."


async def refresh(desk: AccountsDesk, text: str) -> OpenedSession:
    """The session with its next refresh token; the one that was sent is used up.

    Raises: NotSignedIn; RefreshRaced for one that was used in the last ten seconds.
    """
    family = await _family(desk, text)
    async with begin(desk.store, acting_as(family["organization_id"], family["user_id"])) as tx:
        session = await _locked_session(tx, family["session_id"])
        if session is None:
            raise NotSignedIn(_REFUSAL)
        row = await tx.one("select id, used_at from refresh_tokens where token_hash = %s", (hash_of(text),))
        assert row is not None, "it was found a moment ago, and only goes with its session"
        if row["used_at"] is None:
            return await _turned(tx, session, row["id"])
        if tx.clock.now() - row["used_at"] <= _GRACE:
            raise RefreshRaced(
                "This token was used a moment ago, by another tab or process of yours. Use what that one got.",
                retry_after_s=1,
            )
        await tx.record("refresh-token.reused", "session", session["id"], result="refused")
        await end_session(tx, session["id"], user_id=session["user_id"], why="refresh token used twice")
    raise NotSignedIn(_REFUSAL)


async def _family(desk: AccountsDesk, text: str) -> dict[str, UUID]:
    """Whose it is, in whatever organization."""
    if looks_like_one(text):
        async with begin_system(desk.store) as tx:
            row = await tx.one(
                "select r.session_id, r.organization_id, s.user_id from refresh_tokens r "
                "join sessions s on s.id = r.session_id join users u on u.id = s.user_id "
                "where r.token_hash = %s and s.revoked_at is null and u.disabled_at is null",
                (hash_of(text),),
            )
        if row is not None:
            return row
    raise NotSignedIn(_REFUSAL)


async def _locked_session(tx: Tx, session_id: UUID) -> dict[str, Any] | None:
    """One refresh of a session at a time; None if it is over."""
    now = tx.clock.now()
    return await tx.one(
        "select id, user_id, organization_id, restricted, ends_at from sessions where id = %s and kind = 'token' "
        "and revoked_at is null and ends_at > %s and last_seen_at + make_interval(secs => idle_s) > %s for update",
        (session_id, now, now),
    )


async def _turned(tx: Tx, session: dict[str, Any], used_id: UUID) -> OpenedSession:
    now, text = tx.clock.now(), new_secret()
    await tx.execute("update refresh_tokens set used_at = %s where id = %s", (now, used_id))
    await add_refresh_token(tx, session["id"], text)
    await tx.execute("update sessions set last_seen_at = %s where id = %s", (now, session["id"]))
    return OpenedSession(
        id=session["id"], organization_id=session["organization_id"], user_id=session["user_id"], kind="token",
        restricted=session["restricted"], ends_at=session["ends_at"], secret="", refresh_token=text,
    )  # fmt: skip
