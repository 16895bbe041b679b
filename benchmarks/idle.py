"""How long a worker takes to be up, and what `shopfloor up` holds in memory when nothing is to be done.

python benchmarks/idle.py [--rounds 5]      (needs a Docker engine and the sandbox image)
Memory is the sum of PSS over the process and the embedded database's, ten seconds after the start.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from machine import report

SHOPFLOOR = Path(sys.executable).with_name("shopfloor")
SETTLE_S = 10.0
MIB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = int(parser.parse_args().rounds)
    with tempfile.TemporaryDirectory(prefix="sf-idle-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - as above
        environment = {**os.environ, "SHOPFLOOR_HOME": folder, "SHOPFLOOR_LOG__FORMAT": "json"}
        up, _ = started(["up", "--port", "0"], "is up at", environment)
        time.sleep(SETTLE_S)
        python, postgres = pss_mib(up.pid), sum(pss_mib(pid) for pid in postgres_of(folder))
        seconds = [worker_up_s(environment) for _ in range(rounds)]
        stop(up)
    report(
        "idle",
        {
            "worker_up_s": {"median": round(statistics.median(seconds), 2), "worst": round(max(seconds), 2)},
            "worker_up_reach_s": 3,
            "idle_mib": {"api_and_worker": round(python), "database": round(postgres)},
            "idle_mib_total": round(python + postgres),
            "idle_reach_mib": 300,
            "rounds": rounds,
        },
    )


def worker_up_s(environment: dict[str, str]) -> float:
    """From the start of the process to its first line."""
    worker, seconds = started(["worker"], "A worker is up", environment)
    stop(worker)
    return seconds


def started(words: list[str], says: str, environment: dict[str, str]) -> tuple[subprocess.Popen[str], float]:
    """The process once it has said so, and how long that took."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(SHOPFLOOR), *words], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    for line in process.stdout:
        if says in line:
            return process, time.monotonic() - begun
    raise SystemExit(f"shopfloor {' '.join(words)} ended with {process.wait()}")


def stop(process: subprocess.Popen[str]) -> None:
    """SIGTERM, and wait."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=60)


def postgres_of(folder: str) -> list[int]:
    """The embedded server's processes: the one with this data folder, and its children."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    masters = {row[0] for row in rows if "postgres" in row[2] and f"-D {folder}" in row[2]}
    return [int(row[0]) for row in rows if row[0] in masters or row[1] in masters]


def pss_mib(pid: int) -> float:
    """Proportional set size. Source: proc_pid_smaps(5)."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE)
    return int(match[1]) / MIB if match else 0.0


if __name__ == "__main__":
    main()
