"""What `shopfloor --version` takes over a bare Python, in pairs so that the machine's noise falls on both.

Floor: `python -c pass`. Promise: at most 150 ms over it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import report

PAIRS = 30
LIMIT_MS = 150


def took_ms(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1_000 * (time.perf_counter() - started)


def main() -> int:
    shopfloor = str(Path(sys.executable).with_name("shopfloor"))
    pairs = [(took_ms(sys.executable, "-c", "pass"), took_ms(shopfloor, "--version")) for _ in range(PAIRS)]
    over = sorted(version - bare for bare, version in pairs)
    figures = {
        "pairs": PAIRS,
        "bare_ms_p50": round(statistics.median(bare for bare, _ in pairs), 1),
        "version_ms_p50": round(statistics.median(version for _, version in pairs), 1),
        "over_ms_p50": round(statistics.median(over), 1),
        "over_ms_p90": round(over[int(0.9 * PAIRS)], 1),
        "limit_ms": LIMIT_MS,
    }
    report("cli_version", figures)
    return 0 if figures["over_ms_p50"] <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
