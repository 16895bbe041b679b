"""Can a budget be overspent? 3 processes of 64 clients each share 1.00 USD; the provider's own bill is the judge.

Half of the runs hold what a call costs, half four times as much; the caller sends no max_tokens. One after another: no
fault, a process killed (SIGKILL), the database crashed (immediate shutdown, and started), both. Real processes, real
HTTP, the chain and the ledger as in a worker; no sandboxes. Redis has no part in money, so nothing of it can be lost.

Reach: 0.00 USD beyond the limit in 100 of 100 runs; where nothing was lost in flight, >= 95 % of it spent.
Run: `python benchmarks/overspend.py --runs 100` (a few seconds a run).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import ModelRequestParameters

from installation import Process
from machine import report
from shopfloor.base.clock import SystemClock
from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL, new_id
from shopfloor.base.money import NANOS_PER_USD, picos_per_unit
from shopfloor.base.principal import Principal
from shopfloor.domain.budgets.ledger import Ledger, LedgerSettings
from shopfloor.domain.budgets.port import Ask, Charge, Closing
from shopfloor.domain.jobs.books import JobsOfLedger
from shopfloor.domain.jobs.dispatch import close_left
from shopfloor.engine.providers.attempts import CallPolicy
from shopfloor.engine.providers.chain import Candidate, ChainModel
from shopfloor.engine.providers.port import Attempt, CostLimitReached, Credentials, ModelRef, Price, Usage
from shopfloor.infra import schema
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.tx import Store, begin, begin_system

PROCESSES, CLIENTS = 3, 64
LIMIT_NANOS = NANOS_PER_USD
OUTPUT_TOKENS = 250  # of the reply: with 15 USD a million about 0.004 USD
FAULTS = ("none", "kill -9", "database crash", "kill -9 and database crash")
FACTORS = (1, 4)  # what is held, as a multiple of what the reply costs
MODEL = ModelRef("mock", "overspend")
SCENARIO = f"""
prices: {{"*": {{input: "3", output: "15"}}}}
pace: {{latency_ms: 200, chunk_ms: 0, chunk_chars: 4000}}
otherwise: {{text: "{"word " * (OUTPUT_TOKENS * 4 // 5)}"}}
"""
_SETTINGS = LedgerSettings(hold_wait_s=2.0, look_again_s=0.25, patience_s=30.0)


@dataclass(frozen=True)
class Task:
    """What one process is told."""

    database_url: str
    mock_url: str
    run: int
    process: int
    factor: int
    organization_id: UUID
    project_id: UUID
    jobs: tuple[tuple[UUID, UUID], ...]  # (job, its run), one a client


class Paying:
    """Implements engine/providers/port.py::Meter on the ledger, as jobs/meter.py does for a job's turn."""

    def __init__(self, ledger: Ledger, charge: Charge) -> None:
        self._ledger = ledger
        self._charge = charge
        self._turn = 0

    async def hold(self, attempt: Attempt) -> UUID:
        """Set the bound aside in the budget."""
        self._turn += 1
        ask = Ask(
            new_id(), self._charge, "", self._turn, attempt.number, attempt.model.provider, str(attempt.model),
            attempt.bound_nanos, 100 * LIMIT_NANOS,
        )  # fmt: skip
        await self._ledger.hold(ask)
        return ask.hold_id

    async def settle(self, hold: Any, usage: Usage, cost_nanos: int) -> None:
        """Book it."""
        counts = {name: value for name, value in asdict(usage).items() if value}
        await self._close(Closing(hold, self._charge.job_id, "settled", cost_nanos, counts))

    async def release(self, hold: Any, reason: str) -> None:
        """It was not billed."""
        await self._close(Closing(hold, self._charge.job_id, "released", reason=reason))

    async def unknown(self, hold: Any, reason: str) -> None:
        """It may have been."""
        await self._close(Closing(hold, self._charge.job_id, "unknown", reason=reason))

    async def _close(self, closing: Closing) -> None:
        await self._ledger.close(self._charge.organization_id, [closing])


def process(task: Task) -> None:
    """One process of clients: each calls until the budget refuses it."""
    asyncio.run(_clients(task))


async def _clients(task: Task) -> None:
    database = await _database(task.database_url)
    ledger = Ledger(Store(database), JobsOfLedger(), settings=_SETTINGS)
    try:
        await asyncio.gather(*(_client(task, ledger, number) for number in range(len(task.jobs))))
    finally:
        await ledger.aclose()
        await database.aclose()


async def _client(task: Task, ledger: Ledger, number: int) -> None:
    job_id, run_id = task.jobs[number]
    charge = Charge(task.organization_id, task.project_id, None, None, "coding", job_id, run_id)
    picos: dict[Any, int] = {"input": picos_per_unit("3"), "output": picos_per_unit("15")}
    price = Price(MODEL.model, picos, datetime.now(UTC), "organization")
    credentials = Credentials(MODEL.provider, "mock", "sk-mock-overspend", f"{task.mock_url}/v1")
    candidate = Candidate(MODEL, credentials, price, 200_000, OUTPUT_TOKENS * task.factor)
    chain = await ChainModel.open(
        [candidate], meter=Paying(ledger, charge), clock=SystemClock(), rng=random.Random(number),  # noqa: S311 - jitter
        policy=CallPolicy(timeout_s=20, attempts=3, backoff_base_s=0.05),
        transport=lambda: httpx2.AsyncHTTPTransport(verify=False),
    )  # fmt: skip
    marker = f"[[conversation: run{task.run}-{task.process}-{number}]]"
    try:
        while True:
            with suppress(ShopfloorError):
                try:
                    await chain.request(
                        [ModelRequest.user_text_prompt(f"{marker} Go on.")], None, ModelRequestParameters()
                    )
                except CostLimitReached:
                    return
    finally:
        await chain.aclose()


class Bench:
    """The driver: makes a budget, lets processes at it, breaks something, and asks the provider."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["__main__"])
        self._postgres = EmbeddedPostgres(folder / "postgres")

    async def open(self) -> None:
        """Database, organization, provider."""
        self._url = await asyncio.to_thread(self._postgres.start)
        await asyncio.to_thread(schema.migrate, self._url)
        self._database = await _database(self._url)
        self._store = Store(self._database)
        self._ledger = Ledger(self._store, JobsOfLedger(), settings=_SETTINGS)
        self._organization_id = new_id()
        async with begin_system(self._store) as tx:
            await tx.execute(
                "insert into organizations (id, name, operator) values (%s, 'Overspend', true)",
                (self._organization_id,),
            )
        scenario = self._folder / "scenario.yaml"
        await asyncio.to_thread(scenario.write_text, SCENARIO)
        self._mock = Process(
            ["mock-provider", "--scenario", str(scenario), "--port", "0"], dict(os.environ), self._folder / "mock.log"
        )
        line = await self._mock.says("http://")
        self._mock_url = next(word for word in line.split() if word.startswith("http://")).rstrip("./,")

    async def aclose(self) -> None:
        """Everything stopped."""
        await self._ledger.aclose()
        await self._database.aclose()
        self._mock.stop()
        await asyncio.to_thread(self._postgres.stop)

    async def run(self, number: int) -> dict[str, Any]:
        """One run: what was billed, what is booked, what doesn't add up."""
        factor, fault = FACTORS[number % 2], FAULTS[number // 2 % len(FAULTS)]
        tasks = await self._tasks(number, factor)
        children = [self._context.Process(target=process, args=(task,)) for task in tasks]
        began = time.monotonic()
        for child in children:
            child.start()
        await self._break(fault, children, tasks[0].project_id)
        for child in children:
            await asyncio.to_thread(child.join, 120)
            if child.is_alive():
                child.kill()
                raise RuntimeError(f"run {number} ({factor}x, {fault}): a process did not end")
        took_s = time.monotonic() - began
        async with begin_system(self._store) as tx:  # as the rescue does for runs that fell silent
            await tx.execute(
                "update runs set state = 'lost', ended_at = now(), ending = 'lost' where state = 'running'"
            )
        await close_left(self._store, self._ledger)
        return await self._judged(number, tasks[0], factor, fault, took_s)

    async def _tasks(self, number: int, factor: int) -> list[Task]:
        project_id = new_id()
        jobs = [[(new_id(), new_id()) for _ in range(CLIENTS)] for _ in range(PROCESSES)]
        flat = [pair for each in jobs for pair in each]
        async with await self._owner() as connection:
            await connection.execute(
                "insert into projects (id, organization_id, slug, name) values (%s, %s, %s, 'P')",
                (project_id, self._organization_id, f"run-{number}"),
            )
            await connection.execute(
                "insert into budgets (id, organization_id, scope_type, scope_id, project_id, period, time_zone, "
                "limit_nanos, hard, thresholds, auto_pause, created_by) values (%s, %s, 'project', %s, %s, 'total', "
                "'UTC', %s, true, '{80,90,95,100}', true, %s)",
                (new_id(), self._organization_id, str(project_id), project_id, LIMIT_NANOS, new_id()),
            )
            async with connection.cursor() as cursor:
                await cursor.executemany(
                    "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
                    "admitted_at, runs) values "
                    "(%s, %s, %s, 'coding', 'x', 'mock/overspend', %s, %s, 'running', now(), 1)",
                    [
                        (job, self._organization_id, project_id, '{"cost_nanos": 100000000000}', new_id())
                        for job, _ in flat
                    ],
                )
                await cursor.executemany(
                    "insert into runs (id, organization_id, job_id, fence, worker) values (%s, %s, %s, 1, 'bench')",
                    [(run, self._organization_id, job) for job, run in flat],
                )
        return [
            Task(self._url, self._mock_url, number, n, factor, self._organization_id, project_id, tuple(jobs[n]))
            for n in range(PROCESSES)
        ]

    async def _break(self, fault: str, children: list[Any], project_id: UUID) -> None:
        if fault == "none":
            return
        while not await self._spending(project_id):  # noqa: ASYNC110 - in another process: money is on its way
            await asyncio.sleep(0.05)
        await asyncio.sleep(self._chance.uniform(0, 1.0))
        if "kill" in fault:
            self._chance.choice(children).kill()
        if "crash" in fault:
            await asyncio.to_thread(self._crash)

    def _crash(self) -> None:
        pid = int((self._folder / "postgres/data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        stat = Path(f"/proc/{pid}/stat")
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.02)
        self._postgres.start()

    async def _spending(self, project_id: UUID) -> bool:
        async with begin_system(self._store) as tx:
            found = await tx.one(
                "select 1 from budget_periods p join budgets b on b.id = p.budget_id "
                "where b.project_id = %s and p.spent_nanos > 0",
                (project_id,),
            )
        return found is not None

    async def _billed(self, number: int) -> tuple[int, int]:
        """(calls, nano-USD) that the provider billed in this run."""
        async with httpx2.AsyncClient(timeout=60) as client:
            bill = (await client.get(f"{self._mock_url}/_mock/bill")).json()
        own = [each for each in bill["requests"] if each["billed"] and each["conversation"].startswith(f"run{number}-")]
        return len(own), sum(int(each["cost_nanos"]) for each in own)

    async def _judged(self, number: int, task: Task, factor: int, fault: str, took_s: float) -> dict[str, Any]:
        calls, billed = await self._billed(number)
        async with begin_system(self._store) as tx:
            row = await tx.one(
                "select p.spent_nanos, p.held_nanos, p.unknown_nanos from budget_periods p join budgets b "
                "on b.id = p.budget_id where b.project_id = %s",
                (task.project_id,),
            )
        principal = Principal("system", NIL, self._organization_id, frozenset({"*"}))
        async with begin(self._store, principal) as tx:
            wrong = await self._ledger.check(tx)
        assert row is not None, "nothing was held"
        return {
            "factor": factor, "fault": fault, "calls": calls, "billed_nanos": billed, "took_s": round(took_s, 1),
            "over_nanos": max(0, billed - LIMIT_NANOS), "booked_over_nanos": max(0, row["spent_nanos"] - LIMIT_NANOS),
            "booked_nanos": row["spent_nanos"], "unknown_nanos": row["unknown_nanos"],
            "billed_and_not_booked_nanos": max(0, billed - row["spent_nanos"]), "held_nanos": row["held_nanos"],
            "check": wrong[:3],
        }  # fmt: skip

    async def _owner(self) -> Any:
        import psycopg

        return await psycopg.AsyncConnection.connect(self._url)


async def _database(url: str) -> Database:
    settings = DatabaseSettings(url=url, pool_size=3, system_pool_size=2)
    database = Database(urls_of(settings), settings)
    await database.open()
    return database


async def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    root = "/var/tmp" if os.geteuid() == 0 else None  # noqa: S108 - PostgreSQL's own user has to pass
    with tempfile.TemporaryDirectory(prefix="sf-overspend-", dir=root, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - as above
        bench = Bench(Path(folder), random.Random(chosen.seed))  # noqa: S311 - moments
        await bench.open()
        runs: list[dict[str, Any]] = []
        try:
            for number in range(chosen.runs):
                runs.append(await bench.run(number))
                print(runs[-1], file=sys.stderr)
        finally:
            await bench.aclose()
    figures = _figures(runs, chosen.seed)
    report("overspend", figures)
    return 1 if figures["runs_over"] or figures["runs_wrong"] else 0


def _figures(runs: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    whole = [run["billed_nanos"] / LIMIT_NANOS for run in runs if run["fault"] == "none"]
    booked = [run["booked_nanos"] / LIMIT_NANOS for run in runs]
    return {
        "runs": len(runs),
        "clients": PROCESSES * CLIENTS,
        "limit_usd": "1.00",
        "runs_over": sum(run["over_nanos"] > 0 or run["booked_over_nanos"] > 0 for run in runs),
        "runs_wrong": sum(
            bool(run["check"]) or run["held_nanos"] != 0 or run["billed_and_not_booked_nanos"] > 0 for run in runs
        ),
        "billed_calls": sum(run["calls"] for run in runs),
        "usable_by_the_bill_without_faults_min": round(min(whole), 4) if whole else None,
        "booked_min": round(min(booked), 4),
        "unknown_share_max": round(max(run["unknown_nanos"] for run in runs) / LIMIT_NANOS, 4),
        "runs_by_fault": dict(Counter(f"{run['fault']}, {run['factor']}x" for run in runs)),
        "run_s_max": max(run["took_s"] for run in runs),
        "seed": seed,
        "reach": "0 runs over by the provider's bill; >= 0.95 of the budget usable",
    }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
