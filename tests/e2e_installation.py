"""What end-to-end tests share: an installation of their own, its processes, and a mock provider."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shopfloor.testing.mock_provider import Scenario, Server, parse, serve

PRICES = 'prices: {"*": {input: "3", cache_read: "0.30", output: "15"}}\n'
SHOPFLOOR = str(Path(sys.executable).with_name("shopfloor"))
KEY = "sk-mock-e2e"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Process:
    """One of ours that runs on; what it says is kept."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    async def line_with(self, text: str, within_s: float = 60) -> str:
        async with asyncio.timeout(within_s):
            while True:
                line = (await self.process.stdout.readline()).decode()
                assert line, f"it ended without saying {text!r}: {''.join(self.said)}"
                self.said.append(line)
                if text in line:
                    return line

    def kill(self) -> None:
        self.process.kill()

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code, once it has ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        async with asyncio.timeout(40):
            rest, _ = await self.process.communicate()
        self.said.append(rest.decode())
        return self.process.returncode


@dataclass
class Installation:
    """A data folder and the environment that names it."""

    home: Path
    environ: dict[str, str]
    started: list[Process] = field(default_factory=list)

    async def cli(self, *words: str, within_s: float = 90, stdin: str = "", **more: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            SHOPFLOOR, *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self.environ | more,
        )  # fmt: skip
        try:
            async with asyncio.timeout(within_s):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
        return Done(process.returncode, out.decode(), err.decode())

    async def start(self, *words: str, **more: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            SHOPFLOOR, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=self.environ | more,
        )  # fmt: skip
        started = Process(process)
        self.started.append(started)
        return started

    async def up(self, **more: str) -> Process:
        """`shopfloor up` on a free port; commands find it by its lock."""
        process = await self.start("up", "--port", "0", **more)
        await process.line_with("Ctrl-C")
        return process

    async def ready(self, server: Server) -> None:
        """The mock as a provider with a price."""
        words = ("provider", "add", "mock", "--base-url", server.openai_url, "--key-stdin")
        added = await self.cli(*words, stdin=KEY)
        assert added.code == 0, added.err
        priced = await self.cli("price", "set", "mock/test", "--input", "3", "--output", "15", "--cache-read", "0.3")
        assert priced.code == 0, priced.err

    async def submit(self, task: str, *words: str) -> str:
        done = await self.cli("job", "submit", task, "--model", "mock/test", *words)
        assert done.code == 0, done.err
        return done.out.strip()

    async def job(self, job_id: str) -> dict[str, Any]:
        return (await self.cli("job", "view", job_id, "--json")).json

    async def until(self, job_id: str, kind: str, within_s: float = 60) -> list[dict[str, Any]]:
        """Its events once one of `kind` is there."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            events = (await self.cli("job", "logs", job_id, "--json")).json
            if any(event["kind"] == kind for event in events):
                return events
        raise AssertionError(f"no {kind} within {within_s} s: {[event['kind'] for event in events]}")


@asynccontextmanager
async def mock(text: str) -> AsyncIterator[Server]:
    scenario: Scenario = parse(PRICES + text)
    async with serve(scenario) as server:
        yield server


async def calls(server: Server, number: int, within_s: float = 60) -> None:
    """Until the mock has been sent so many requests."""
    async with asyncio.timeout(within_s):
        while len(server.bill().entries) < number:  # noqa: ASYNC110 - it serves in this loop and tells nobody
            await asyncio.sleep(0.05)
