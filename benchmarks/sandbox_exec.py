"""A command and a 20 KB file through the exec server, against `docker exec` and the archive API, in one sandbox.

python benchmarks/sandbox_exec.py [--rounds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import aiodocker

from machine import report
from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.port import SandboxSpec
from shopfloor.engine.sandbox.settings import SandboxSettings, default_engine_url

SIZE = 20_480
BLOCK = 5
SETTLE_S = 0.2


async def main() -> None:
    rounds = _rounds()
    with tempfile.TemporaryDirectory(prefix="sf-bench-") as folder:
        boxes = DockerSandboxes(SandboxSettings(state_dir=Path(folder)), install_id="bench", clock=SystemClock())
        docker = aiodocker.Docker(default_engine_url())
        try:
            async with aclosing(await boxes.open(SandboxSpec(new_id(), new_id()))) as sandbox:
                await sandbox.write_file("file", b"x" * SIZE)
                container = docker.containers.container(sandbox.id)

                async def by_client() -> None:
                    program = shutil.which("docker") or "docker"
                    process = await asyncio.create_subprocess_exec(
                        program, "-H", default_engine_url(), "exec", sandbox.id, "true"
                    )
                    assert await process.wait() == 0

                async def by_server() -> None:
                    assert (await sandbox.run(["true"], timeout_s=10)).ok

                async def by_shell() -> None:
                    assert (await sandbox.run("true", timeout_s=10)).ok

                async def file_by_server() -> None:
                    assert len((await sandbox.read_file("file")).data) == SIZE

                async def file_by_archive() -> None:
                    archive = await container.get_archive("/workspace/file")
                    member = archive.extractfile("file")
                    assert member is not None
                    assert len(member.read()) == SIZE

                ways = {
                    "exec_server_ms": by_server,
                    "exec_server_bash_ms": by_shell,
                    "docker_exec_ms": by_client,
                    "read_20kb_ms": file_by_server,
                    "archive_20kb_ms": file_by_archive,
                }
                taken = await _measure(ways, rounds)
        finally:
            await docker.close()
            await boxes.aclose()
    report("sandbox_exec", _figures(taken, rounds))


def _figures(taken: dict[str, float], rounds: int) -> dict[str, object]:
    return {
        "rounds": rounds,
        "median": {name: round(value, 3) for name, value in taken.items()},
        "exec_ratio": round(taken["exec_server_ms"] / taken["docker_exec_ms"], 4),
        "exec_bash_ratio": round(taken["exec_server_bash_ms"] / taken["docker_exec_ms"], 4),
        "exec_target": 0.1,
        "read_ratio": round(taken["read_20kb_ms"] / taken["archive_20kb_ms"], 4),
        "read_target": 0.02,
    }


async def _measure(ways: dict[str, Callable[[], Awaitable[None]]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each way. They take turns in blocks, so that what else runs here meets all alike.

    A pause and one call that doesn't count come before each block: the engine still works for a while after an exec,
    which would be billed to the next way.
    """
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds // BLOCK):
        for name, way in ways.items():
            await asyncio.sleep(SETTLE_S)
            await way()
            for _ in range(BLOCK):
                started = time.perf_counter()
                await way()
                samples[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(values) for name, values in samples.items()}


def _rounds() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    return int(parser.parse_args().rounds)


if __name__ == "__main__":
    asyncio.run(main())
