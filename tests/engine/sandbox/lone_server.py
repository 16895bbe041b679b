"""The exec server without a container: in namespaces of its own, where the process it runs as can reach nobody else."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shopfloor.engine.sandbox.attach import STDERR, STDOUT
from shopfloor.engine.sandbox.channel import Channel
from shopfloor.engine.sandbox.served import ServedWorkspace
from shopfloor.engine.workspace import WorkspaceLost

REPOSITORY = Path(__file__).parents[3]
# Every folder of this machine but /proc and /tmp, and a /workspace of 64 MiB: what a sandbox has, without its walls.
_ENTER = """
root=$1; shift
mount -t tmpfs tmpfs "$root"
for entry in /*; do
  if [ -L "$entry" ]; then cp -P "$entry" "$root/"
  elif [ -d "$entry" ]; then
    mkdir "$root$entry"
    case $entry in /proc|/tmp|/workspace) ;; *) mount --rbind "$entry" "$root$entry" ;; esac
  fi
done
mkdir -p "$root/workspace"
mount -t tmpfs -o size=64m,nr_inodes=2048 tmpfs "$root/workspace"
mount -t tmpfs tmpfs "$root/tmp"
for kept in "$KEEP_SOURCE" "$KEEP_VENV"; do
  case $kept in /tmp/*) mkdir -p "$root$kept"; mount --rbind "$kept" "$root$kept" ;; esac
done
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"
"""
_MAIN = "from shopfloor.engine.sandbox.guest.main import main; main()"


class Pipes:
    """Implements channel.py::Wire over a process's standard streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        self._stdin = process.stdin
        self._pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(64)
        self._tasks = [
            asyncio.create_task(self._pass_on(STDOUT, process.stdout)),
            asyncio.create_task(self._pass_on(STDERR, process.stderr)),
        ]

    async def _pass_on(self, stream: int, reader: asyncio.StreamReader | None) -> None:
        assert reader is not None
        while data := await reader.read(1 << 16):
            await self._pieces.put((stream, data))
        if stream == STDOUT:
            await self._pieces.put(None)

    async def read(self) -> tuple[int, bytes] | None:
        return await self._pieces.get()

    def write(self, data: bytes) -> None:
        self._stdin.write(data)

    async def drain(self) -> None:
        await self._stdin.drain()

    def close(self) -> None:
        self._stdin.close()

    async def ended(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def lone_server(folder: Path, *more: str) -> AsyncGenerator[ServedWorkspace]:
    """A workspace behind an exec server that runs on this machine; `more` goes to its command line."""
    own_user = [] if os.geteuid() == 0 else ["-U", "-r"]
    process = await asyncio.create_subprocess_exec(
        "unshare", *own_user, "-m", "-p", "-f", "--kill-child", "sh", "-euc", _ENTER, "enter", str(folder),
        sys.executable, "-c", _MAIN, "/workspace", "600", *more,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KEEP_SOURCE": str(REPOSITORY), "KEEP_VENV": sys.prefix},
    )  # fmt: skip
    pipes = Pipes(process)
    lost: list[str] = []
    channel = Channel(pipes, on_lost=lost.append)
    try:
        await channel.greet(20)
    except WorkspaceLost:
        process.kill()
        if os.environ.get("NEED_DOCKER"):  # CI: a machine without them must not look green
            pytest.fail(f"no namespaces for an exec server of our own: {channel.reason}")
        pytest.skip(f"no namespaces for an exec server of our own on this machine: {channel.reason}")
    try:
        yield ServedWorkspace(channel, {"PATH": os.defpath + ":/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"})
    finally:
        await channel.aclose()
        async with asyncio.timeout(20):
            await process.wait()
        await pipes.ended()
