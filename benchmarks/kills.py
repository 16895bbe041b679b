"""Two workers, one of them killed again and again: nothing lost, nothing done twice, nothing paid twice.

The judge is the mock provider's own bill. Run: `python benchmarks/kills.py --kills 200` (needs a Docker engine and the
sandbox image; about 10 s a kill). Half of the kills come at a random moment, half right after a journal write, seen in
the database within two milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from machine import report
from shopfloor.apps import settings as app_settings
from shopfloor.apps.wiring import Parts, install_id, open_parts
from shopfloor.base.money import picos_per_unit
from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.lifecycle import TERMINAL
from shopfloor.domain.jobs.submit import Submission, submit
from shopfloor.domain.models.prices import set_price
from shopfloor.domain.models.providers import NewProvider, add_provider
from shopfloor.engine.git.bundles import bundle_from_local
from shopfloor.engine.git.command import Git
from shopfloor.engine.git.unpack import starting_bundle
from shopfloor.engine.providers.port import ModelRef
from shopfloor.engine.sandbox.records import OWNER_LABEL
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.tx import begin, begin_system
from shopfloor.testing import sample_project
from shopfloor.testing.mock_provider import load as load_scenario

HEARTBEAT_LIMIT_S = 4.0
SLOTS = 2
ORPHAN_GRACE_S = 60.0


@dataclass
class Tally:
    """What was seen; everything that must be zero is checked at the end."""

    kills: int = 0
    kills_while_running: int = 0
    jobs: int = 0
    verified: int = 0
    resume_s: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class Worker:
    """A `shopfloor worker` process, killed by handle."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log.open("ab")
        self.start()

    def start(self) -> None:
        """Start it, again after a kill."""
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("shopfloor")), "worker"],
            env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM: it gives its jobs back."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    chosen = arguments.parse_args()
    chance = random.Random(chosen.seed)  # noqa: S311 - moments, not secrets
    root = "/var/tmp" if os.geteuid() == 0 else None  # noqa: S108 - PostgreSQL's own user has to pass
    with tempfile.TemporaryDirectory(prefix="shopfloor-kills-", dir=root, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - as above
        tally = await measure(Path(folder), chosen.kills, chance)
    report(
        "kills",
        {
            "kills": tally.kills,
            "kills_while_a_job_ran": tally.kills_while_running,
            "seed": chosen.seed,
            "jobs": tally.jobs,
            "jobs_verified": tally.verified,
            "violations": len(tally.violations),
            "violation_list": tally.violations[:20],
            "heartbeat_limit_s": HEARTBEAT_LIMIT_S,
            "resume_s_max": round(max(tally.resume_s, default=0.0), 2),
            "resume_s_median": round(sorted(tally.resume_s)[len(tally.resume_s) // 2], 2) if tally.resume_s else None,
        },
    )
    sys.exit(1 if tally.violations else 0)


async def measure(home: Path, kills: int, chance: random.Random) -> Tally:
    postgres = EmbeddedPostgres(home / "postgres")
    await asyncio.to_thread(postgres.start)
    bill = home / "bill.jsonl"
    command = [sys.executable, "-m", "shopfloor.testing.mock_provider", "--scenario", "demo", "--port", "0"]
    mock = subprocess.Popen([*command, "--bill", str(bill)], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - once
    assert mock.stdout is not None
    mock_url = mock.stdout.readline().split()[2]
    environment = {
        **os.environ,
        "SHOPFLOOR_HOME": str(home),
        "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE": "true",
        "SHOPFLOOR_JOBS__HEARTBEAT_LIMIT_S": str(HEARTBEAT_LIMIT_S),
        "SHOPFLOOR_JOBS__HEARTBEAT_S": "0.5",
        "SHOPFLOOR_JOBS__SLOTS": str(SLOTS),
        "SHOPFLOOR_JOBS__MAX_CRASHES": "1000",
        "SHOPFLOOR_LOG__FORMAT": "json",
    }
    tally = Tally()
    try:
        async with open_parts(app_settings.load(environment)) as parts:
            owner = await local_owner(parts.store)
            await _provider(parts, owner, mock_url)
            bundle = await _bundle(parts, home)
            workers = [Worker(environment, home / f"worker-{n}.log") for n in range(2)]
            try:
                await _kill_again_and_again(parts, owner, bundle, workers, kills, chance, tally)
            finally:
                await _drain(parts, owner)
                await _orphans(parts, tally)
                for worker in workers:
                    worker.stop()
            async with httpx2.AsyncClient() as client:
                billed = (await client.get(f"{mock_url}/_mock/bill", timeout=60)).json()
            await _judge(parts, owner, billed, tally)
    finally:
        mock.terminate()
        mock.wait()
        await asyncio.to_thread(postgres.stop)
    return tally


async def _kill_again_and_again(
    parts: Parts, owner: Principal, bundle: tuple[str, str], workers: list[Worker], kills: int,
    chance: random.Random, tally: Tally,
) -> None:  # fmt: skip
    """Keep four jobs going and kill one of the two workers, at a random moment or right after a journal write."""
    while tally.kills < kills:
        await _top_up(parts, owner, bundle, tally)
        if tally.kills % 2 == 0:
            await asyncio.sleep(chance.uniform(0.2, 4.0))
        else:
            await _next_journal_write(parts, chance)
        owned = {worker: await _running_on(parts, worker.process.pid) for worker in workers}
        victim = chance.choice([worker for worker in workers if owned[worker]] or workers)
        mine = owned[victim]
        killed_at = time.monotonic()
        victim.kill()
        tally.kills += 1
        tally.kills_while_running += bool(mine)
        victim.start()
        if mine:
            await _resumed(parts, mine, killed_at, tally)
        if tally.kills % 10 == 0:
            print(f"{tally.kills} kills, {tally.jobs} jobs, {len(tally.violations)} violations", file=sys.stderr)


async def _top_up(parts: Parts, owner: Principal, bundle: tuple[str, str], tally: Tally) -> None:
    async with begin(parts.store, owner) as tx:
        row = await tx.one("select count(*) as n from jobs where state in ('queued', 'running', 'waiting')")
    for _ in range(2 * SLOTS - int(row["n"] if row else 0)):
        tally.jobs += 1
        task = f"[[conversation: kill-{tally.jobs}]] {sample_project.TASK}"
        async with begin(parts.store, owner) as tx:
            await submit(tx, parts.desk, Submission(task=task, model="mock/demo", bundle=bundle, checks=["true"]))
    parts.dispatcher.poke()


async def _next_journal_write(parts: Parts, chance: random.Random) -> None:
    """Return as soon as another step is intended or done (looked at each 2 ms), or after 4 s without one."""
    before = await _step_count(parts)
    for _ in range(2_000):
        await asyncio.sleep(0.002)
        if await _step_count(parts) != before:
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.003)))
            return


async def _step_count(parts: Parts) -> tuple[int, int]:
    async with begin_system(parts.store) as tx:
        row = await tx.one("select count(*) as n, count(done_at) as done from steps")
    assert row is not None
    return row["n"], row["done"]


async def _running_on(parts: Parts, pid: int) -> dict[Any, int]:
    async with begin_system(parts.store) as tx:
        rows = await tx.all("select job_id, fence from runs where state = 'running' and worker like %s", (f"%-{pid}",))
    return {row["job_id"]: row["fence"] for row in rows}


async def _resumed(parts: Parts, mine: dict[Any, int], killed_at: float, tally: Tally) -> None:
    """How long until each job that ran there was taken back: within the heart-beat limit and a second."""
    waiting = dict(mine)
    while waiting:
        async with begin_system(parts.store) as tx:
            rows = await tx.all("select job_id, fence, state from runs where job_id = any(%s)", (list(waiting),))
        for row in rows:
            if waiting.get(row["job_id"]) == row["fence"] and row["state"] != "running":
                del waiting[row["job_id"]]
                tally.resume_s.append(time.monotonic() - killed_at)
        if time.monotonic() - killed_at > 60:
            tally.violations.append(f"jobs {list(waiting)} were not taken back within 60 s")
            return
        await asyncio.sleep(0.05)


async def _drain(parts: Parts, owner: Principal) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        async with begin(parts.store, owner) as tx:
            row = await tx.one("select count(*) as n from jobs where state in ('queued', 'running', 'waiting')")
        if row is not None and row["n"] == 0:
            return
        await asyncio.sleep(0.5)


async def _orphans(parts: Parts, tally: Tally) -> None:
    """No sandbox of this installation is left a minute after the last job ended."""
    deadline = time.monotonic() + ORPHAN_GRACE_S
    while left := await _sandboxes(parts):
        if time.monotonic() > deadline:
            tally.violations.append(f"{len(left)} sandboxes were left after {ORPHAN_GRACE_S:g} s")
            return
        await asyncio.sleep(1)


async def _sandboxes(parts: Parts) -> list[str]:
    """The containers of this installation, as the engine lists them."""
    mine = f"label={OWNER_LABEL}={install_id(parts.settings)}"
    listing = await asyncio.create_subprocess_exec(
        "docker", "ps", "-aq", "--filter", mine, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await listing.communicate()
    return output.decode().split()


async def _judge(parts: Parts, owner: Principal, billed: dict[str, Any], tally: Tally) -> None:
    by_turn: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for request in billed["requests"]:
        if request["billed"]:
            by_turn[request["conversation"], request["turn"]].append(request)
    async with begin(parts.store, owner) as tx:
        rows = await tx.all("select id, task, state, verified, last_seq, crashes, cost_nanos, held_nanos from jobs")
        for row in rows:
            await _judge_job(tx, row, by_turn, tally)
        settled = await tx.one("select coalesce(sum(cost_nanos), 0)::bigint as n from holds where state = 'settled'")
    total = sum(Decimal(request["cost_nanos"]) for request in billed["requests"] if request["billed"])
    unknown = total - (settled["n"] if settled else 0)
    if unknown < 0:
        tally.violations.append(f"we booked {-unknown} nano-USD more than the provider billed")


async def _judge_job(tx: Any, row: dict[str, Any], by_turn: dict[tuple[str, int], list[Any]], tally: Tally) -> None:
    conversation = row["task"].split("]]")[0].removeprefix("[[conversation: ")
    bad = tally.violations.append
    if row["state"] not in TERMINAL:
        bad(f"{conversation} never ended: {row['state']}")
    if row["state"] != "succeeded":
        bad(f"{conversation} ended as {row['state']}")
    tally.verified += row["verified"] is True
    steps = await jobs.steps(tx, row["id"])
    if any(step.state != "done" for step in steps):
        bad(f"{conversation} has steps that are not done")
    for step in steps:
        if step.kind == "model" and not step.scope:
            delivered = [entry for entry in by_turn[conversation, step.turn - 1] if not entry["cut"]]
            # Delivered, but not yet recorded at a kill: it was in flight. One at most for each attempt that was lost.
            if len(delivered) > step.attempt:
                bad(f"{conversation} turn {step.turn}: {len(delivered)} paid calls for {step.attempt} attempts")
    events = [event.seq for event in await jobs.events(tx, row["id"], after=0, limit=100_000)]
    if events != list(range(1, row["last_seq"] + 1)):
        bad(f"{conversation}: the events have a gap or a repetition")
    if row["held_nanos"] != 0:
        bad(f"{conversation}: {row['held_nanos']} nano-USD are still held")
    finished = await tx.all(
        "select data->>'call' as call, data->>'turn' as turn, count(*) as n from events where job_id = %s "
        "and kind = 'tool.finished' group by 1, 2 having count(*) > 1",
        (row["id"],),
    )
    if finished:
        bad(f"{conversation}: tool results were recorded twice: {finished}")


async def _provider(parts: Parts, owner: Principal, mock_url: str) -> None:
    """The mock under our own price, which is what the scenario asks."""
    price = load_scenario("demo").price_of("demo")
    assert price is not None
    given = {"input": price.input, "output": price.output, "cache-read": price.cache_read, "reasoning": price.reasoning}
    picos: dict[Any, int] = {unit: picos_per_unit(usd) for unit, usd in given.items() if usd is not None}
    async with begin(parts.store, owner) as tx:
        await add_provider(tx, parts.sealer, NewProvider("mock", "mock", "sk-mock-kills", f"{mock_url}/v1"))
        await set_price(tx, ModelRef("mock", "demo"), picos)


async def _bundle(parts: Parts, home: Path) -> tuple[str, str]:
    repository = home / "sample"
    sample_project.create(repository)
    commit = await bundle_from_local(repository, home / "sample.git")
    blob = await parts.blobs.put(starting_bundle(Git(), commit))
    return commit.sha, blob.digest


if __name__ == "__main__":
    asyncio.run(main())
