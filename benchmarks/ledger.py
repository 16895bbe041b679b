"""Hold and settle through the ledger's group commit, against one transaction a call with row locks, in the same run.

Three levels (organization, project, user), one organization whose row everybody needs, 200 clients in one process, no
model: each client holds, settles, and begins again. Both write a hold, its entries, and the rows of every level.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from machine import report
from shopfloor.base.ids import NIL, new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.budgets.port import Ask, Charge, Closing
from shopfloor.domain.jobs.books import JobsOfLedger
from shopfloor.infra import schema
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.tx import Store, begin

CLIENTS = 200
LIMIT = 10**15
BOUND, COST = 4_000_000, 1_000_000
REACH = {"ratio": 15, "pairs_a_second": 3_000, "p99_ms": 60}
Pair = Callable[[Charge], Awaitable[None]]


async def grouped(ledger: Ledger, charge: Charge) -> None:
    """Hold and settle as a job's meter does."""
    ask = Ask(new_id(), charge, "", 1, 1, "mock", "mock/x", BOUND, LIMIT)
    await ledger.hold(ask)
    await ledger.close(charge.organization_id, [Closing(ask.hold_id, charge.job_id, "settled", COST, {"requests": 1})])


async def by_row_locks(store: Store, charge: Charge) -> None:
    """The usual way: each change of each call is a transaction of its own that locks the rows of every level."""
    principal = Principal("worker", NIL, charge.organization_id, frozenset({"*"}))
    hold_id = new_id()
    scopes = [str(charge.organization_id), str(charge.project_id), str(charge.user_id)]
    async with begin(store, principal) as tx:
        rows = await tx.all(
            "select p.id, b.limit_nanos - p.spent_nanos - p.held_nanos as room from budget_periods p join budgets b "
            "on b.id = p.budget_id where b.scope_id = any(%s) order by p.id for no key update of p",
            (scopes,),
        )
        assert all(row["room"] >= BOUND for row in rows)
        ids = [row["id"] for row in rows]
        await tx.execute("update budget_periods set held_nanos = held_nanos + %s where id = any(%s)", (BOUND, ids))
        await tx.execute(
            "insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, bound_nanos, "
            "project_id, user_id, agent, provider, period_ids) values (%s, %s, %s, %s, '', 1, 1, 'mock/x', 'held', %s, "
            "%s, %s, 'coding', 'mock', %s)",
            (
                hold_id, charge.organization_id, charge.job_id, charge.run_id, BOUND, charge.project_id,
                charge.user_id, ids,
            ),
        )  # fmt: skip
        await _entry(tx, charge, hold_id, "hold", "held", "available", BOUND, ids)
    async with begin(store, principal) as tx:
        await tx.all("select 1 from budget_periods where id = any(%s) order by id for no key update", (ids,))
        await tx.execute(
            "update budget_periods set held_nanos = held_nanos - %s, spent_nanos = spent_nanos + %s, calls = calls + 1 "
            "where id = any(%s)",
            (BOUND, COST, ids),
        )
        await tx.execute("update holds set state = 'settled', cost_nanos = %s where id = %s", (COST, hold_id))
        await tx.execute("update jobs set cost_nanos = cost_nanos + %s where id = %s", (COST, charge.job_id))
        await _entry(tx, charge, hold_id, "spend", "spent", "held", COST, ids)
        await _entry(tx, charge, hold_id, "release", "available", "held", BOUND - COST, ids)


async def _entry(
    tx: Any, charge: Charge, hold_id: UUID, kind: str, debit: str, credit: str, amount: int, ids: list[UUID]
) -> None:
    await tx.execute(
        "insert into ledger_entries (organization_id, hold_id, job_id, kind, debit, credit, amount_nanos, period_ids) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (charge.organization_id, hold_id, charge.job_id, kind, debit, credit, amount, ids),
    )


async def measured(pair: Pair, charges: list[Charge], seconds: float) -> dict[str, float]:
    """Pairs a second, and how long one pair took, over `seconds`."""
    took: list[float] = []
    end = time.monotonic() + seconds

    async def client(charge: Charge) -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            await pair(charge)
            took.append(time.perf_counter() - began)

    began, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(client(charge) for charge in charges))
    wall = time.monotonic() - began
    took.sort()
    return {
        "pairs_a_second": round(len(took) / wall, 1),
        "p50_ms": round(1_000 * statistics.median(took), 1),
        "p99_ms": round(1_000 * took[int(0.99 * (len(took) - 1))], 1),
        "client_cpu_us_a_pair": round(1e6 * (time.process_time() - cpu) / len(took)),
    }


async def prepared(url: str) -> list[Charge]:
    """An organization with a budget on three levels and a running job for each client."""
    import psycopg

    organization, project, user = new_id(), new_id(), new_id()
    charges = [Charge(organization, project, None, user, "coding", new_id(), new_id()) for _ in range(CLIENTS)]
    async with await psycopg.AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        await cursor.execute("insert into organizations (id, name) values (%s, 'Bench')", (organization,))
        await cursor.execute(
            "insert into projects (id, organization_id, slug, name) values (%s, %s, 'p', 'P')", (project, organization)
        )
        for kind, scope in (("organization", organization), ("project", project), ("user", user)):
            budget = new_id()
            await cursor.execute(
                "insert into budgets (id, organization_id, scope_type, scope_id, project_id, period, time_zone, "
                "limit_nanos, hard, thresholds, auto_pause, created_by) "
                "values (%s, %s, %s, %s, %s, 'total', 'UTC', %s, true, '{80}', true, %s)",
                (budget, organization, kind, str(scope), project if kind == "project" else None, LIMIT, user),
            )
            await cursor.execute(
                "insert into budget_periods (id, organization_id, budget_id, starts_at) "
                "values (%s, %s, %s, '1970-01-01 00:00+00')",
                (new_id(), organization, budget),
            )
        for charge in charges:
            await cursor.execute(
                "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
                "admitted_at, runs) values (%s, %s, %s, 'coding', 'x', 'mock/x', '{}', %s, 'running', now(), 1)",
                (charge.job_id, organization, project, user),
            )
            await cursor.execute(
                "insert into runs (id, organization_id, job_id, fence, worker) values (%s, %s, %s, 1, 'bench')",
                (charge.run_id, organization, charge.job_id),
            )
    return charges


async def main() -> None:
    """Rounds of both, in turn; the medians of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    root = "/var/tmp" if os.geteuid() == 0 else None  # noqa: S108 - PostgreSQL's own user has to pass
    with tempfile.TemporaryDirectory(prefix="sf-ledger-", dir=root, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - as above
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(schema.migrate, url)
        settings = DatabaseSettings(url=url, pool_size=20, system_pool_size=2, acquire_timeout_s=60)
        database = Database(urls_of(settings), settings)
        await database.open()
        store = Store(database)
        ledger = Ledger(store, JobsOfLedger())
        charges = await prepared(url)
        ways: dict[str, Pair] = {
            "row_locks": lambda charge: by_row_locks(store, charge),
            "ledger": lambda charge: grouped(ledger, charge),
        }
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for number in range(chosen.rounds + 1):
            for name, pair in ways.items():
                found = await measured(pair, charges, chosen.seconds if number else 1.0)
                if number:  # the first one warms up
                    rounds[name].append(found)
        await ledger.aclose()
        await database.aclose()
        await asyncio.to_thread(postgres.stop)
    middle = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in rounds.items()
    }
    ratios = [
        a["pairs_a_second"] / b["pairs_a_second"] for a, b in zip(rounds["ledger"], rounds["row_locks"], strict=True)
    ]
    report("ledger", {**middle, "ratio": round(statistics.median(ratios), 1), "clients": CLIENTS, "reach": REACH})


if __name__ == "__main__":
    asyncio.run(main())
