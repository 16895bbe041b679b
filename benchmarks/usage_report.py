"""A report over a million calls from the sums by day, its total against the ledger's, and the same from the calls.

The calls are made in the database: 20 projects of 5 people each, 50 people, 3 agents, 5 models, 30 days. The sums come
from `usage rebuild`, and `usage check` compares each of them with the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import psycopg

from machine import report as tell
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.usage import check
from shopfloor.domain.usage.report import Question, report, total
from shopfloor.infra import schema
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.tx import Store, begin

REACH_MS = 200
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 30)
_FILL = """
insert into organizations (id, name) values (%(org)s, 'Bench');
insert into projects (id, organization_id, slug, name)
  select gen_random_uuid(), %(org)s, 'p' || n, 'P' || n from generate_series(1, 20) n;
insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, finished_at)
  select gen_random_uuid(), %(org)s, id, 'coding', 'x', 'mock/x', '{}', gen_random_uuid(), 'succeeded', now()
  from projects where organization_id = %(org)s;
insert into runs (id, organization_id, job_id, fence, worker, state, ended_at)
  select gen_random_uuid(), %(org)s, id, 1, 'w', 'ended', now() from jobs where organization_id = %(org)s;
insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, bound_nanos,
    cost_nanos, usage, held_at, ended_at, project_id, user_id, agent, provider)
  select gen_random_uuid(), %(org)s, j.id, r.id, '', n / 20, 1, 'mock/m' || abs(hashtext('m' || n)) %% 5, 'settled',
    9000000, 1000000 + n %% 997,
    jsonb_build_object('input_tokens', n %% 5000, 'output_tokens', n %% 700, 'requests', 1), at, at, j.project_id,
    md5(((j.place * 5 + abs(hashtext(n::text)) %% 5) %% 50)::text)::uuid,
    (array['coding', 'review', 'testing'])[1 + abs(hashtext('a' || n)) %% 3], 'mock'
  from (select row_number() over (order by id) as place, * from jobs where organization_id = %(org)s) j
  join runs r on r.job_id = j.id cross join lateral (
    select n, timestamptz '2026-10-01 00:00+00' + n * interval '2.59 s' as at
    from generate_series(j.place, %(calls)s, 20) n) c;
insert into ledger_entries (organization_id, hold_id, job_id, kind, debit, credit, amount_nanos, period_ids, at)
  select organization_id, id, job_id, 'spend', 'spent', 'held', cost_nanos, '{}', ended_at from holds;
analyze
"""


async def main() -> None:
    """One filled database, 20 reports of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    chosen = parser.parse_args()
    root = "/var/tmp" if os.geteuid() == 0 else None  # noqa: S108 - PostgreSQL's own user has to pass
    with tempfile.TemporaryDirectory(prefix="sf-usage-", dir=root, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - as above
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        url = await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(schema.migrate, url)
        organization = new_id()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
            for statement in _FILL.split(";\n"):
                await owner.execute(statement, {"org": organization, "calls": chosen.calls})
        settings = DatabaseSettings(url=url, statement_timeout_s=600)
        database = Database(urls_of(settings), settings)
        await database.open()
        store, principal = Store(database), Principal("system", new_id(), organization, frozenset({"*"}))
        rows = await check.rebuild(store, principal)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
            await owner.execute("analyze usage_daily")
        compared = await check.check(store, principal)
        took: dict[str, list[float]] = {}
        for groups in (("project",), ("day", "model"), ("project", "user", "agent")):
            question = Question(groups, FIRST, LAST)
            for _ in range(20):
                began = time.perf_counter()
                async with begin(store, principal) as tx:
                    await report(tx, question, after=None, limit=51)
                    summed = await total(tx, question)
                took.setdefault("by " + ", ".join(groups), []).append(time.perf_counter() - began)
        began = time.perf_counter()
        async with begin(store, principal) as tx:
            row = await tx.one(
                "select sum(e.amount_nanos)::bigint as nanos, count(*) as calls from ledger_entries e join holds h "
                "on h.id = e.hold_id where e.kind = 'spend' and e.organization_id = %s",
                (organization,),
            )
        from_calls = time.perf_counter() - began
        await database.aclose()
        await asyncio.to_thread(postgres.stop)
    assert row is not None
    tell(
        "usage_report",
        {
            "calls": row["calls"], "rows_of_sums": rows, "reach_ms": REACH_MS,
            "report_ms_p50": {name: round(1_000 * statistics.median(each), 1) for name, each in took.items()},
            "report_ms_worst": {name: round(1_000 * max(each), 1) for name, each in took.items()},
            "from_the_calls_ms": round(1_000 * from_calls, 1),
            "equal_to_the_ledger": summed["cost_nanos"] == row["nanos"], "check": str(compared)[:200],
        },
    )  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
