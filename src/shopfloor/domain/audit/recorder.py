"""Keeps what rooms record: one statement right before the commit of the change. If it fails, nothing is changed."""

from __future__ import annotations

import secrets
from uuid import UUID

import psycopg

from shopfloor.base.ids import NIL, new_id
from shopfloor.domain.audit import store
from shopfloor.domain.audit.canonical import NotCanonical
from shopfloor.domain.audit.entry import SALT_BYTES, Circumstances, leaf_of
from shopfloor.infra.origin import origin
from shopfloor.infra.record import Entry, RecordUnavailable
from shopfloor.infra.tx import Tx

_REFUSAL = (
    "The audit log can't be written at the moment, so nothing was changed; reading goes on. Ask the operator to look "
    "at the server's log and the database's disk and rights, then send this again."
)


async def keep(tx: Tx, entry: Entry) -> None:
    """Add `entry` with who, when and from where as they are now; it is written right before the commit.

    No lock, no counter: writers never wait for each other. Raises: RecordUnavailable.
    """
    around = Circumstances(
        new_id(), _organization(tx, entry), tx.clock.now(), tx.principal, origin(), secrets.token_bytes(SALT_BYTES)
    )
    try:
        leaf = leaf_of(entry, around).decode()
    except NotCanonical as error:
        raise RecordUnavailable(f"{_REFUSAL} ({error.detail})") from error
    tx.before_commit(_write, (around, leaf))


async def _write(tx: Tx, lines: list[tuple[Circumstances, str]]) -> None:
    """Raises: RecordUnavailable; what tells that the connection broke or a statement was too slow rises as it is."""
    try:
        await store.add(tx, lines)
    except psycopg.Error as error:
        if tx.connection.closed or isinstance(error, psycopg.errors.QueryCanceled):
            raise
        raise RecordUnavailable(_REFUSAL, reason=type(error).__name__) from error


def _organization(tx: Tx, entry: Entry) -> UUID:
    """Whose log it goes to. The system acts for all and names one; nobody else can name another's."""
    if tx.organization_id != NIL:
        return tx.organization_id
    if entry.organization_id is None:
        raise RecordUnavailable(
            f"The system recorded {entry.action} without saying for which organization, so nothing was changed. "
            "This is a defect of the server: tell its operator.",
            action=entry.action,
        )
    return entry.organization_id
