"""What was left: read past the product, from the database, the engine and the provider's bill."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from psycopg.rows import dict_row

from chaos.ground import Ground
from chaos.history import Billed, Hold, JobEnd, Left
from shopfloor.apps import settings as app_settings
from shopfloor.apps.wiring import install_id
from shopfloor.engine.sandbox.records import OWNER_LABEL

_CONVERSATION = re.compile(r"\[\[conversation: ([\w-]+)\]\]")


async def settled(ground: Ground, within_s: float) -> float:
    """Wait until no job is open, no task is undone and no sandbox is there, or the time is over; how long it took."""
    began = time.monotonic()
    while time.monotonic() < began + within_s:
        undone = await asyncio.to_thread(_undone, ground.direct_url)
        if not undone and not await asyncio.to_thread(sandboxes, ground):
            break
        await asyncio.sleep(1)
    return round(time.monotonic() - began, 1)


def _undone(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select (select count(*) from jobs where state in ('queued', 'running', 'waiting')) "
            "+ (select count(*) from procrastinate_jobs) + (select count(*) from jobs j where state = 'dead' and "
            "not exists (select from dead_letters l where l.job_id = j.id and l.kind = 'job'))"
        ).fetchone()
    assert row is not None
    return int(row[0])


async def look(ground: Ground) -> Left:
    """Everything, once all has settled."""
    async with httpx2.AsyncClient(timeout=60) as client:
        bill = (await client.get(f"{ground.mock_url.rstrip('/')}/_mock/bill")).json()
    return await asyncio.to_thread(_look, ground, bill["requests"])


def _look(ground: Ground, requests: list[dict[str, Any]]) -> Left:
    with psycopg.connect(ground.direct_url, row_factory=dict_row) as connection:
        jobs = _jobs(connection)
        stuck = connection.execute("select task_name, id, status::text as status, attempts from procrastinate_jobs")
        tasks = [f"{row['task_name']} {row['id']} {row['status']} {row['attempts']}" for row in stuck.fetchall()]
        letters = connection.execute("select kind, task, reason from dead_letters").fetchall()
    bill = [
        Billed(each["conversation"], each["turn"], int(each["cost_nanos"]), not each["cut"])
        for each in requests
        if each["billed"]
    ]
    told = [f"{each['kind']} {each['task']} {each['reason'].get('code')}" for each in letters]
    return Left(jobs, bill, sandboxes(ground), tasks, _ledger(ground), {"dead_letters": told})


def _jobs(connection: psycopg.Connection[dict[str, Any]]) -> list[JobEnd]:
    def by_job(query: str) -> dict[Any, list[dict[str, Any]]]:
        found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for row in connection.execute(query).fetchall():  # type: ignore[arg-type]
            found[row["job_id"]].append(row)
        return found

    events = by_job("select job_id, seq, kind, data from events order by job_id, seq")
    holds = by_job("select job_id, turn, state, cost_nanos, bound_nanos from holds order by id")
    letters = by_job("select job_id from dead_letters where kind = 'job'")
    rows = connection.execute(
        "select id, task, state, last_seq, cost_nanos, held_nanos, unknown_nanos, crashes, error from jobs order by id"
    ).fetchall()
    return [
        JobEnd(
            str(row["id"]), _conversation(row["task"]), row["state"], row["last_seq"], row["cost_nanos"],
            row["held_nanos"], row["unknown_nanos"], row["crashes"],
            [(each["seq"], each["kind"]) for each in events[row["id"]]],
            [
                (int(each["data"].get("turn", 0)), str(each["data"].get("call")))
                for each in events[row["id"]] if each["kind"] == "tool.finished"
            ],
            [Hold(each["turn"], each["state"], each["cost_nanos"], each["bound_nanos"]) for each in holds[row["id"]]],
            len(letters[row["id"]]),
            str((row["error"] or {}).get("detail", "")),
        )
        for row in rows
    ]  # fmt: skip


def _conversation(task: str) -> str:
    found = _CONVERSATION.search(task)
    return found[1] if found else task[:40]


def sandboxes(ground: Ground) -> list[str]:
    """The containers of this installation, as the engine itself lists them."""
    mine = f"label={OWNER_LABEL}={install_id(app_settings.load({'SHOPFLOOR_HOME': str(ground.home)}))}"
    done = subprocess.run(["docker", "ps", "-aq", "--filter", mine], capture_output=True, text=True, check=False)
    return done.stdout.split()


def _ledger(ground: Ground) -> list[str]:
    """`shopfloor ledger check`, where there is one."""
    environment = {"SHOPFLOOR_HOME": str(ground.home), "SHOPFLOOR_DATABASE__URL": ground.direct_url, "PATH": "/usr/bin"}
    command = [str(Path(sys.executable).with_name("shopfloor")), "ledger", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    if "No such command" in done.stderr:
        ground.notes.append("no ledger check: this version has none")
        return []
    return [] if done.returncode == 0 else [f"ledger check: {(done.stdout + done.stderr).strip()[-2_000:]}"]
