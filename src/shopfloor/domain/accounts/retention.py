"""What is over is forgotten after a while: sessions, links, counted attempts, mails that went out."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from shopfloor.infra.tx import Store, begin_system

_KEPT: Final = timedelta(days=30)  # a session that ended, for whoever asks where it came from
_COUNTED: Final = timedelta(days=1)


async def forget_old(store: Store) -> int:
    """How many rows went. A second time changes nothing."""
    async with begin_system(store) as tx:
        now = tx.clock.now()
        return (
            await tx.execute("delete from sessions where ends_at < %s", (now - _KEPT,))  # their refresh tokens, too
            + await tx.execute("delete from one_time_tokens where expires_at < %s", (now - _KEPT,))
            + await tx.execute("delete from sign_in_attempts where last_at < %s", (now - _COUNTED,))
            + await tx.execute("delete from mails where created_at < %s", (now - _KEPT,))
        )
