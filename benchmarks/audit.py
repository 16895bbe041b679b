"""The audit log: CPU that one entry adds to a transaction, and the time to verify an export of a million rows.

The first is the CPU of this whole process for transactions that change a row and record it, less that of the same
transactions that record nothing, driver and event loop included: entries are written in one statement right before the
commit. It is measured with 1, 3 and 10 entries a transaction; the figure is that of one alone, the dearest. The floor
is a `select 1` in their place: what any further statement costs. The export of the second is made here, from entries
as the recorder makes them.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobs_database import opened
from machine import report
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.audit import recorder
from shopfloor.domain.audit.entry import Circumstances, leaf_of, moment
from shopfloor.domain.audit.lines import checkpoint_line, end_line, entry_line, header_line
from shopfloor.domain.audit.merkle import Tree, leaf_hash
from shopfloor.domain.audit.note import Checkpoint, origin_of, sign, verifier_key
from shopfloor.domain.audit.verify import verify
from shopfloor.infra.origin import Origin, coming_from
from shopfloor.infra.record import Entry
from shopfloor.infra.tx import Services, Store, begin

HERE = Origin("bench-0123456789", "192.0.2.17", "shopfloor-bench/1.0 (an agent of usual length; Linux x86_64)")
BEFORE = {"name": "Web shop", "status": "active", "priority": 0}
AFTER = {"name": "Web shop", "status": "paused", "priority": 5}
ENTRIES = (1, 3, 10)  # a transaction
NOTHING, FLOOR = 0, -1
A_CHECKPOINT = 20  # entries: what a second of a busy installation holds


def main() -> None:
    options = _arguments()
    append = asyncio.run(_append(options.rounds, options.transactions))
    verified = _verified(options.rows)
    report("audit", {
        "append": append | {"reach": "<= 100 us CPU", "reached": append["cpu_us_per_entry"] <= 100},
        "verify": verified | {"reach": "1,000,000 rows in <= 60 s", "reached": verified["s_per_million_rows"] <= 60},
    })  # fmt: skip


async def _append(rounds: int, transactions: int) -> dict[str, Any]:
    async with opened() as (store, owner, _):
        services = Services(store.services.queue, clock=store.services.clock, recorder=recorder.keep)
        recording = Store(store.database, services)
        kinds = (*ENTRIES, FLOOR, NOTHING)
        spent: dict[int, list[float]] = {kind: [] for kind in kinds}
        for kind in kinds:
            await _changes(recording, owner, 300, kind)
        for _ in range(rounds):
            for kind in kinds:
                spent[kind].append(await _changes(recording, owner, transactions, kind) / transactions * 1e6)
    added = {
        kind: [(one - without) / max(kind, 1) for one, without in zip(spent[kind], spent[NOTHING], strict=True)]
        for kind in kinds
    }
    return {
        "transaction_cpu_us": round(statistics.median(spent[NOTHING]), 1),
        "floor_cpu_us": round(statistics.median(added[FLOOR]), 1),
        "cpu_us_per_entry": round(statistics.median(added[1]), 1),
        "cpu_us_per_entry_of_3": round(statistics.median(added[3]), 1),
        "cpu_us_per_entry_of_10": round(statistics.median(added[10]), 1),
        "rounds": rounds,
        "transactions_a_round": transactions,
    }


async def _changes(store: Store, owner: Principal, count: int, entries: int) -> float:
    """CPU seconds that `count` transactions with so many entries took."""
    with coming_from(HERE):
        before = time.process_time()
        for number in range(count):
            async with begin(store, owner) as tx:
                await tx.execute("update projects set priority = %s where slug = 'default'", (number % 100,))
                for _ in range(entries):
                    await tx.record("project.changed", "project", owner.id, before=BEFORE, after=AFTER)
                if entries == FLOOR:
                    await tx.execute("select 1")
        return time.process_time() - before


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _verified(rows: int) -> dict[str, Any]:
    organization_id = new_id()
    private = Ed25519PrivateKey.generate()
    key = verifier_key(origin_of(organization_id), private)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "audit.jsonl"
        with file.open("wb") as out:
            out.writelines(_export(Principal("user", new_id(), organization_id), private, rows))
        size_mib = file.stat().st_size // 2**20
        started_s, cpu_s = time.perf_counter(), _cpu_s()
        with file.open("rb") as lines:
            found = verify(lines, key)
        wall_s, cpu_s = time.perf_counter() - started_s, _cpu_s() - cpu_s
    assert found.bad is None, found.bad
    assert found.entries == rows
    return {
        "rows": rows,
        "checkpoints": found.checkpoints,
        "export_mib": size_mib,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "s_per_million_rows": round(wall_s / rows * 1e6, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _export(principal: Principal, private: Ed25519PrivateKey, rows: int) -> Iterator[bytes]:
    key = verifier_key(origin_of(principal.organization_id), private)
    entry = Entry("project.changed", "project", str(new_id()), BEFORE, AFTER, new_id())
    around = Circumstances(new_id(), principal.organization_id, datetime.now(UTC), principal, HERE, bytes(32))
    origin = {"salt": around.salt.hex(), "address": HERE.address, "agent": HERE.agent}
    tree, last, checkpoints = Tree(), 0, 0
    yield header_line(key)
    start = around.id.int & ~0xFFFF_FFFF
    for index in range(rows):
        around = replace(around, id=type(around.id)(int=start + index), at=around.at + timedelta(milliseconds=50))
        leaf = leaf_of(entry, around)
        digest = leaf_hash(leaf)
        tree.add(digest)
        yield entry_line(index, orjson.loads(leaf), origin, digest)
        if tree.size - last == A_CHECKPOINT or tree.size == rows:
            checkpoint = Checkpoint(key.name, tree.size, tree.root(), moment(around.at), last)
            yield checkpoint_line(sign(checkpoint, private))
            last, checkpoints = tree.size, checkpoints + 1
    yield end_line(rows, checkpoints)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--transactions", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
