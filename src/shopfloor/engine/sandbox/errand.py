"""What a worker that isn't root can't do on a soft disk, whose files are another user's: a short container does it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from shopfloor.engine.sandbox.engine import Engine
from shopfloor.engine.sandbox.port import SandboxUnavailable

_LIMIT_S: Final = 120.0
_LOOK_S: Final = 0.1
_OVER: Final = 3  # the exit status of the measuring command
_EMPTY: Final = "exec find /workspace -xdev -mindepth 1 -delete"


async def is_over(engine: Engine, image: str, folder: Path, limit_bytes: int, labels: dict[str, str]) -> bool:
    """Whether the files below `folder` take more than that, those in closed folders too. Raises: SandboxUnavailable."""
    command = f'used=$(du -s -x -B 1 /workspace | cut -f 1); [ "$used" -le {limit_bytes} ] || exit {_OVER}'
    config = _config(image, f"{folder}:/workspace:ro", command, ["DAC_READ_SEARCH"], labels)
    return await _run(engine, f"{folder.name}-measure", config) == _OVER


async def empty(engine: Engine, image: str, folder: Path, labels: dict[str, str]) -> bool:
    """Delete everything below `folder`, whoever owns it; whether that went well. Raises: SandboxUnavailable."""
    config = _config(image, f"{folder}:/workspace", _EMPTY, ["DAC_OVERRIDE", "FOWNER"], labels)
    return await _run(engine, f"{folder.name}-empty", config) == 0


def _config(image: str, bind: str, command: str, capabilities: list[str], labels: dict[str, str]) -> dict[str, Any]:
    """Root without any right but to pass file modes, no network, nothing of the sandbox's image."""
    return {
        "Image": image,
        "User": "0:0",
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": [command],
        "WorkingDir": "/",
        "Labels": labels,
        "HostConfig": {
            "Binds": [bind],
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": capabilities,
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
            "PidsLimit": 16,
            "Memory": 256 << 20,
            "LogConfig": {"Type": "none"},
        },
    }


async def _run(engine: Engine, name: str, config: dict[str, Any]) -> int:
    """Its exit status."""
    try:
        container = await engine.create(name, config)
        await engine.start(container)
        async with asyncio.timeout(_LIMIT_S):
            while True:
                shown = await engine.inspect(container)
                state: dict[str, Any] = (shown or {}).get("State") or {}
                if not state.get("Running", False):
                    return int(state.get("ExitCode", -1))
                await asyncio.sleep(_LOOK_S)
    except TimeoutError as error:
        raise SandboxUnavailable(f"{name} took longer than {_LIMIT_S:.0f} s") from error
    finally:
        await engine.remove(name)
