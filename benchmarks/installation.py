"""A whole installation for a benchmark: API, workers and mock provider as processes of their own, on a fresh home."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx2

_START_S = 60.0
_MODEL = {"provider": "mock", "model": "bench"}
JOB: dict[str, Any] = {"task": "Do as the scenario says.", "model": "mock/bench", "checks": []}


class Installation:
    """`client` is signed in as the owner; `mock` asks the provider what it was asked."""

    def __init__(self, home: Path, client: httpx2.AsyncClient, mock: httpx2.AsyncClient) -> None:
        self.client = client
        self.mock = mock
        self._home = home
        self._worker: Process | None = None

    async def start_worker(self) -> None:
        """A `shopfloor worker`; returns when it is up."""
        self._worker = Process(["worker"], _environment(self._home), self._home / "worker.log")
        await self._worker.says("is up")

    async def submit(self, **fields: Any) -> dict[str, Any]:
        """A job, as the API tells it."""
        return await self.post("jobs", {**JOB, **fields})

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST below /api/v1."""
        return answered(await self.client.post(f"/api/v1/{path}", json=body))

    async def get(self, path: str) -> dict[str, Any]:
        """GET below /api/v1."""
        return answered(await self.client.get(f"/api/v1/{path}"))

    async def reaches(self, job_id: str, *states: str, look_s: float = 0.02) -> dict[str, Any]:
        """The job once it is in one of these states."""
        async with asyncio.timeout(_START_S):
            while (job := await self.get(f"jobs/{job_id}"))["state"] not in states:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(look_s)
        return job

    def stop(self) -> None:
        """The worker; the rest ends with the block."""
        if self._worker is not None:
            self._worker.stop()


class Process:
    """A `shopfloor` command, its output in a file."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        self._out: IO[bytes] = log.open("wb")
        command = [str(Path(sys.executable).with_name("shopfloor")), *arguments]
        self.process = subprocess.Popen(command, env=environment, stdout=self._out, stderr=self._out)

    async def says(self, text: str) -> str:
        """The line that holds `text`, once it was written."""
        async with asyncio.timeout(_START_S):
            while True:
                lines = (await asyncio.to_thread(self._log.read_text)).splitlines()
                if found := [line for line in lines if text in line]:
                    return found[0]
                if self.process.poll() is not None:
                    raise RuntimeError(f"it ended with {self.process.returncode}: {lines[-5:]}")
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()
        self._out.close()


def answered(response: httpx2.Response) -> dict[str, Any]:
    """Its JSON. Raises: RuntimeError with the problem's text."""
    if response.is_error:
        raise RuntimeError(f"{response.status_code}: {response.text[:500]}")
    return response.json()


@asynccontextmanager
async def installation(scenario: str) -> AsyncGenerator[Installation]:
    """An API and a mock provider that plays `scenario` (YAML); workers when asked for."""
    root = "/var/tmp" if os.geteuid() == 0 else None  # noqa: S108 - PostgreSQL's own user has to pass
    with tempfile.TemporaryDirectory(prefix="shopfloor-bench-", dir=root, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: S103, PTH101 - as above
        home = Path(folder)
        file = home / "scenario.yaml"
        await asyncio.to_thread(file.write_text, scenario)
        mock = Process(["mock-provider", "--scenario", str(file), "--port", "0"], _environment(home), home / "mock.log")
        api = Process(["api", "--port", "0"], _environment(home), home / "api.log")
        try:
            mock_url = _url(await mock.says("http://"))
            url = _url(await api.says("is up at"))
            key = (await asyncio.to_thread((home / "home" / "admin.key").read_text)).strip()
            limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
            async with (
                httpx2.AsyncClient(
                    base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30, limits=limits
                ) as client,
                httpx2.AsyncClient(base_url=mock_url, timeout=30) as asked,
            ):
                made = Installation(home, client, asked)
                try:
                    await _provide(made, f"{mock_url}/v1")
                    yield made
                finally:
                    made.stop()
        finally:
            api.stop()
            mock.stop()


async def _provide(made: Installation, base_url: str) -> None:
    provider = {"name": "mock", "kind": "mock", "base_url": base_url, "api_key": "sk-mock-bench"}
    await made.post("providers", provider)
    for unit, usd in (("input", "3"), ("output", "15")):
        await made.post("prices", {**_MODEL, "unit": unit, "usd_per_million": usd})


def _environment(home: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SHOPFLOOR_")}
    # One client with one key asks for all of it: more often than the limits of one key and one person let it.
    unlimited = {f"SHOPFLOOR_LIMITS__{name}_PER_MINUTE": "0" for name in ("KEY", "USER", "ORGANIZATION")}
    return {**own, **unlimited, "SHOPFLOOR_HOME": str(home / "home"), "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE": "true"}


def _url(line: str) -> str:
    return next(word for word in line.split() if word.startswith("http://")).rstrip(".,")
