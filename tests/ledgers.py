"""A ledger as a process has it, over any store."""

from __future__ import annotations

from typing import Any

from shopfloor.domain.budgets.ledger import Ledger, LedgerSettings
from shopfloor.domain.jobs.books import JobsOfLedger
from shopfloor.infra.tx import Store


def ledger_of(store: Store, **settings: Any) -> Ledger:
    """Another process's, if called twice. Keyword arguments are its settings."""
    return Ledger(store, JobsOfLedger(), settings=LedgerSettings(**settings))
