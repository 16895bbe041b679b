"""From nothing to the first answer: a hardened sandbox, a warm one, and a plain `docker run --network none`.

The plain container is created, attached, started and asked for one word over the same API by the same client, because
the `docker` program adds its own start-up; with it the figure is `docker_run_cli_ms`.

    python benchmarks/sandbox_start.py [--rounds 12]
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from machine import report
from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.attach import attach_container
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.engine import Engine, engine_at
from shopfloor.engine.sandbox.image import image_name
from shopfloor.engine.sandbox.port import SandboxSpec
from shopfloor.engine.sandbox.settings import SandboxSettings, default_engine_url


async def main() -> None:
    rounds = _rounds()
    with tempfile.TemporaryDirectory(prefix="sf-bench-") as folder:
        async with engine_at(default_engine_url()) as engine:
            cold = DockerSandboxes(SandboxSettings(state_dir=Path(folder)), install_id="cold", clock=SystemClock())
            pool = SandboxSettings(state_dir=Path(folder), warm_pool=1)
            warm = DockerSandboxes(pool, install_id="warm", clock=SystemClock())
            warm.start()
            ways = {
                "hardened_ms": lambda: _opened(cold),
                "docker_run_none_ms": lambda: _plain(engine),
                "docker_run_cli_ms": _client,
                "warm_claim_ms": lambda: _warm(warm),
            }
            try:
                taken = await _measure(ways, rounds)
            finally:
                await cold.aclose()
                await warm.aclose()
    report("sandbox_start", _figures(taken, rounds))


def _figures(taken: dict[str, list[float]], rounds: int) -> dict[str, object]:
    median = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "rounds": rounds,
        "median": {name: round(value, 1) for name, value in median.items()},
        "hardened_ratio": round(median["hardened_ms"] / median["docker_run_none_ms"], 3),
        "hardened_ratio_cli": round(median["hardened_ms"] / median["docker_run_cli_ms"], 3),
        "hardened_target": 1.1,
        "warm_ratio": round(median["warm_claim_ms"] / median["hardened_ms"], 4),
        "warm_target": 0.25,
    }


async def _opened(boxes: DockerSandboxes) -> float:
    started = time.perf_counter()
    sandbox = await boxes.open(SandboxSpec(new_id(), new_id()))
    assert (await sandbox.run(["echo", "up"], timeout_s=10)).output == b"up\n"
    taken = time.perf_counter() - started
    await sandbox.aclose()
    return taken


async def _warm(boxes: DockerSandboxes) -> float:
    while not len(boxes.pool):  # noqa: ASYNC110 - outside the time that is measured
        await asyncio.sleep(0.01)
    return await _opened(boxes)


async def _plain(engine: Engine) -> float:
    started = time.perf_counter()
    config = {
        "Image": image_name(), "Entrypoint": [], "Cmd": ["echo", "up"], "AttachStdout": True, "AttachStdin": True,
        "OpenStdin": True, "HostConfig": {"NetworkMode": "none"},
    }  # fmt: skip
    ident = await engine.create(f"sf-bench-{new_id().hex}", config)
    streams = await attach_container(engine.url, ident, timeout_s=10)
    await engine.start(ident)
    assert await streams.read() == (1, b"up\n")
    taken = time.perf_counter() - started
    streams.close()
    await engine.remove(ident)
    return taken


async def _client() -> float:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        shutil.which("docker") or "docker", "-H", default_engine_url(), "run", "--rm", "--network", "none",
        image_name(), "echo", "up", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    taken = time.perf_counter() - started
    await process.wait()
    return taken


async def _measure(ways: dict[str, Callable[[], Awaitable[float]]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds; the ways take turns."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            taken = await way()
            if number:  # the first one warms up
                samples[name].append(taken * 1000)
    return samples


def _rounds() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    return int(parser.parse_args().rounds)


if __name__ == "__main__":
    asyncio.run(main())
