"""What the chaos happens on: 3 workers and 2 API processes on an external PostgreSQL, each dependency behind a proxy.

Everything is real and is ours: the server, Redis and the mock provider are processes of this run. The container engine
is somebody else's too, so it is not restarted: the proxy before its socket refuses, hangs, cuts and comes back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from chaos.proxy import Proxy
from redis_servers import RedisServer
from shopfloor.infra import schema
from shopfloor.infra.embedded import EmbeddedPostgres

WORKERS, APIS, SLOTS = 3, 2, 2
HEARTBEAT_LIMIT_S = 4.0
_START_S = 90.0
_SMALL_MIB = 48
_FAKETIME = tuple(f"/usr/lib/{kind}-linux-gnu/faketime/libfaketimeMT.so.1" for kind in ("x86_64", "aarch64"))
SCENARIO = """
name: chaos
prices: {"*": {input: "3", output: "15"}}
pace: {latency_ms: 150, chunk_ms: 5, chunk_chars: 40}
scenes:
  - name: work
    when: {has_tool: write_file}
    replies:
      - tool_calls: [{name: write_file, arguments: {path: a.txt, content: "first\\n"}}]
        usage: {input: 900, output: 61}
      - tool_calls: [{name: shell, arguments: {command: "echo second >> a.txt; sleep 0.3; wc -l a.txt"}}]
        usage: {input: 1100, output: 47}
      - tool_calls: [{name: finish, arguments: from-schema}]
        usage: {input: 1300, output: 33}
otherwise: {tool_calls: [{name: finish, arguments: from-schema}], usage: {input: 500, output: 20}}
"""


class Process:
    """A `shopfloor` command that can be killed, stopped and started again; its output is kept."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self._command = [str(Path(sys.executable).with_name("shopfloor")), *arguments]
        self._environment = environment
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: int) -> None:
        """To it alone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    async def says(self, text: str) -> str:
        """The line of its output with `text`, once it is there."""
        async with asyncio.timeout(_START_S):
            while True:
                lines = (await asyncio.to_thread(self._log.read_text, errors="replace")).splitlines()
                if found := [line for line in lines if text in line]:
                    return found[-1]
                if self._process is not None and self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended with {self._process.returncode}: {lines[-5:]}")
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self.kill()


class Ground:
    """Every part, by name. `notes` say which faults this machine can't have, and why."""

    def __init__(self, folder: Path, *, max_crashes: int = 12) -> None:
        self.folder = folder
        self._max_crashes = max_crashes
        self.home = folder / "home"
        self.notes: list[str] = []
        self.workers: list[Process] = []
        self.apis: list[Process] = []
        self.urls: list[str] = []
        self.small: list[Path] = []
        self.clock: Path | None = None
        self.proxies: dict[str, Proxy] = {}
        self.key = ""
        self.direct_url = ""
        self.mock_url = ""
        self._postgres = EmbeddedPostgres(folder / "postgres")
        self.redis = RedisServer(_free_port(), folder)

    async def open(self) -> None:
        """Start everything, the processes last."""
        self.home.mkdir()
        self.direct_url = await asyncio.to_thread(self._postgres.start)
        await asyncio.to_thread(schema.migrate, self.direct_url)
        await asyncio.to_thread(self.redis.start)
        self._mount()
        engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        scenario = self.folder / "scenario.yaml"
        await asyncio.to_thread(scenario.write_text, SCENARIO)
        mock = Process("mock", ["mock-provider", "--scenario", str(scenario), "--port", "0"], _own(), self.folder)
        self._mock = mock
        mock.start()
        self.mock_url = next(word for word in (await mock.says("http://")).split() if word.startswith("http://"))
        mock_port = int(self.mock_url.rpartition(":")[2].strip("/.,"))
        self.proxies = {
            "database": Proxy(str(self.folder / "postgres/data/.s.PGSQL.5432")),
            "provider": Proxy(("127.0.0.1", mock_port)),
            "engine": Proxy(engine),
        }
        ports = {name: await self.proxies[name].listen() for name in ("database", "provider")}
        await self.proxies["engine"].listen(str(self.folder / "engine.sock"))
        await self._processes(ports)
        await self._provide(ports["provider"])

    async def _processes(self, ports: dict[str, int]) -> None:
        environment = _own() | {
            "SHOPFLOOR_HOME": str(self.home),
            "SHOPFLOOR_DATABASE__URL": f"postgresql://postgres@127.0.0.1:{ports['database']}/postgres",
            "SHOPFLOOR_REDIS__URL": self.redis.url,
            "SHOPFLOOR_SANDBOX__ENGINE_URL": f"unix://{self.folder / 'engine.sock'}",
            "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE": "true",
            "SHOPFLOOR_PROVIDERS__CALL_TIMEOUT_S": "15",
            "SHOPFLOOR_JOBS__SLOTS": str(SLOTS),
            "SHOPFLOOR_JOBS__HEARTBEAT_S": "0.5",
            "SHOPFLOOR_JOBS__HEARTBEAT_LIMIT_S": str(HEARTBEAT_LIMIT_S),
            "SHOPFLOOR_JOBS__MAX_CRASHES": str(self._max_crashes),
            "SHOPFLOOR_JOBS__PROVIDER_PAUSE_LONGEST_S": "5",
            "SHOPFLOOR_LIMITS__KEY_PER_MINUTE": "0",
            "SHOPFLOOR_LIMITS__USER_PER_MINUTE": "0",
            "SHOPFLOOR_LOG__FORMAT": "json",
        }
        for number in range(APIS):
            port = _free_port()
            self.urls.append(f"http://127.0.0.1:{port}")
            self.apis.append(Process(f"api-{number}", ["api", "--port", str(port)], environment, self.folder))
        for number in range(WORKERS):
            own = environment | (self._clock() if number == WORKERS - 1 else {})
            self.workers.append(Process(f"worker-{number}", ["worker"], own, self.folder))
        self.apis[0].start()  # alone: the first start makes the organization and its key
        await self.apis[0].says("is up at")
        self.key = (await asyncio.to_thread((self.home / "admin.key").read_text)).strip()
        for process in (*self.apis[1:], *self.workers):
            process.start()
            await process.says("is up")

    async def _provide(self, port: int) -> None:
        async with self.client(0) as client:
            url = f"http://127.0.0.1:{port}/v1"
            provider = {"name": "mock", "kind": "mock", "base_url": url, "api_key": "sk-mock-chaos"}
            (await client.post("/api/v1/providers", json=provider)).raise_for_status()
            for unit, usd in (("input", "3"), ("output", "15")):
                price = {"provider": "mock", "model": "chaos", "unit": unit, "usd_per_million": usd}
                (await client.post("/api/v1/prices", json=price)).raise_for_status()

    def client(self, api: int) -> httpx2.AsyncClient:
        """Signed in as the owner, at one of the APIs."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx2.AsyncClient(base_url=self.urls[api], headers=headers, timeout=10)

    def _mount(self) -> None:
        """Blobs and work on small file systems, which can be filled."""
        for name in ("blobs", "work"):
            place = self.home / name
            place.mkdir(mode=0o700)
            options = ["-t", "tmpfs", "-o", f"size={_SMALL_MIB}m,mode=0700", "none", str(place)]
            done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                self.notes.append(f"no full disk: mount says {done.stderr.strip()!r}")
                return
            self.small.append(place)

    def _clock(self) -> dict[str, str]:
        """One worker's clock can jump, if the machine has libfaketime."""
        library = os.environ.get("FAKETIME_LIB") or next((each for each in _FAKETIME if Path(each).exists()), None)
        if library is None:
            self.notes.append("no clock jump: there is no libfaketime (FAKETIME_LIB names one)")
            return {}
        self.clock = self.folder / "clock"
        self.clock.write_text("+0\n")
        return {
            "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

    async def crash_database(self, away_s: float) -> None:
        """`stop -m immediate`, and start. Source: PostgreSQL, 'Shutting Down the Server': SIGQUIT."""
        await asyncio.to_thread(_quit, self.folder / "postgres/data/postmaster.pid")
        await asyncio.sleep(away_s)
        await asyncio.to_thread(self._postgres.start)

    async def aclose(self) -> None:
        """Everything stopped, every mount gone."""
        for process in (*self.workers, *self.apis):
            await asyncio.to_thread(process.stop)
        if hasattr(self, "_mock"):
            self._mock.stop()
        for proxy in self.proxies.values():
            await proxy.aclose()
        await asyncio.to_thread(self.redis.stop)
        await asyncio.to_thread(self._postgres.stop)
        for place in self.small:
            await asyncio.to_thread(subprocess.run, ["umount", str(place)], check=False)


@asynccontextmanager
async def ground(folder: Path, **options: int) -> AsyncGenerator[Ground]:
    """A ground in `folder`, opened, and closed at the end whatever happens."""
    made = Ground(folder, **options)
    try:
        await made.open()
        yield made
    finally:
        await made.aclose()


def why_not() -> str | None:
    """What this machine lacks."""
    for program in ("docker", "redis-server"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    return None


def _quit(pid_file: Path) -> None:
    """SIGQUIT to the server, and gone when this returns."""
    pid = int(pid_file.read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + 20
    while _state(pid) != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _own() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SHOPFLOOR_")}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def facts(made: Ground) -> dict[str, Any]:
    """For the report."""
    return {"workers": len(made.workers), "apis": len(made.apis), "left_out": made.notes}
