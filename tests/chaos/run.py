"""One run: so many minutes of chaos, then peace, then judgement. Prints one JSON line; exit 1 with any violation.

`make test-chaos MINUTES=5`. Needs a container engine with the sandbox image, redis-server, and root for the full disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaos import left as remains
from chaos.checker import check, unknown_calls
from chaos.generator import Generator
from chaos.ground import facts, ground, why_not
from chaos.history import History, Left
from chaos.nemesis import Nemesis
from machine import describe

_SETTLE_S = 300.0


async def chaos(folder: Path, minutes: float, seed: int) -> dict[str, Any]:
    """The figures of one run."""
    chance = random.Random(seed)
    history = History()
    async with ground(folder) as made:
        nemesis, generator = Nemesis(made, history, chance), Generator(made, history, chance)
        breaking, working = asyncio.create_task(nemesis.run()), asyncio.create_task(generator.run())
        await asyncio.wait({breaking, working}, timeout=minutes * 60, return_when=asyncio.FIRST_COMPLETED)
        _raise_defect(breaking, working)
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        await nemesis.heal()
        generator.stop()
        await working
        waiting = await generator.settle(_SETTLE_S)
        took_s = await remains.settled(made, _SETTLE_S)
        left = await remains.look(made)
        told = facts(made)
    (folder / "history.json").write_text(json.dumps([asdict(history), asdict(left)], default=str))
    violations = check(history, left)
    if sum(job.state == "succeeded" for job in left.jobs) * 2 < len(left.jobs) or not history.faults:
        violations.append("Most jobs didn't succeed, or nothing was broken: such a run proves nothing")
    if waiting:
        violations.append(f"{waiting} clients never saw the end of their job")
    return {**told, **_figures(history, left), "settled_after_s": took_s, "seed": seed, "minutes": minutes,
            "violations": len(violations), "violation_list": violations[:30]}  # fmt: skip


def _figures(history: History, left: Left) -> dict[str, Any]:
    unknown = unknown_calls(left)
    return {
        "faults": dict(Counter(fault.name for fault in history.faults)),
        "jobs": dict(Counter(job.state for job in left.jobs)),
        "crashes_survived": sum(job.crashes for job in left.jobs),
        "acknowledged": sum(bool(each.answers) for each in history.submitted),
        "events_watched": sum(len(watch.seqs) for watch in history.watches),
        "repeated_after": history.refused,
        "billed_calls": len(left.bill),
        "billed_nanos": sum(each.cost_nanos for each in left.bill),
        "settled_nanos": sum(h.cost_nanos for job in left.jobs for h in job.holds if h.state == "settled"),
        "unknown_calls": len(unknown),
        "unknown_list": unknown[:50],
        **left.extra,
    }


def _record(figures: dict[str, Any]) -> dict[str, Any]:
    """As every benchmark's."""
    return {
        "benchmark": "chaos",
        "command": f"make test-chaos MINUTES={figures['minutes']:g}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "figures": figures,
    }


def _raise_defect(*tasks: asyncio.Task[None]) -> None:
    """The harness's own: chaos that ended early proves nothing."""
    for task in tasks:
        if task.done() and (error := task.exception()) is not None:
            raise error


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--record", type=Path, help="Write the figures to this file too, with the machine.")
    parser.add_argument("--keep", action="store_true", help="Keep the folder: logs, history, bill.")
    chosen = parser.parse_args()
    if (lacking := why_not()) is not None:
        sys.stderr.write(f"No chaos here: {lacking}.\n")
        return 3
    root = "/var/tmp" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="sf-chaos-", dir=root))
    folder.chmod(0o755)
    figures = asyncio.run(chaos(folder, chosen.minutes, chosen.seed))
    print(json.dumps(record := _record(figures), sort_keys=True))
    if chosen.record is not None:
        chosen.record.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    if figures["violations"] or chosen.keep:
        sys.stderr.write(f"Logs and history: {folder}\n")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if figures["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
