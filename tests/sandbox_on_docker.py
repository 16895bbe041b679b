"""What tests on a real Docker engine share: the engine, the image built once a machine, specs and a backend."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shopfloor.base.clock import SystemClock
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.engine import engine_at
from shopfloor.engine.sandbox.image import ensure_image
from shopfloor.engine.sandbox.port import ImageMissing, SandboxLimits, SandboxSpec, SandboxUnavailable
from shopfloor.engine.sandbox.settings import SandboxSettings, default_engine_url

SMALL = SandboxLimits(
    cpus=2, memory_mib=512, pids=128, workspace_mib=64, workspace_inodes=2048, tmp_mib=32, file_mib=48, lifetime_s=600
)


def require_image() -> None:
    """Skip where no engine answers; build the image where it is missing."""
    try:
        asyncio.run(_ensure())
    except (SandboxUnavailable, ImageMissing) as error:
        if os.environ.get("NEED_DOCKER"):  # CI: a machine without an engine must not look green
            pytest.fail(error.detail)
        pytest.skip(f'{error.detail} (try: eval "$(scripts/engine start)")')


async def _ensure() -> None:
    async with engine_at(default_engine_url()) as engine:
        await ensure_image(engine)


def spec(**changes: Any) -> SandboxSpec:
    return SandboxSpec(**{"job_id": new_id(), "run_id": new_id(), "limits": SMALL, **changes})


@asynccontextmanager
async def backend(state_dir: Path, **changes: Any) -> AsyncIterator[DockerSandboxes]:
    install = changes.pop("install_id", f"t{new_id().hex[-11:]}")
    settings = SandboxSettings(**{"state_dir": state_dir, "limits": SMALL, **changes})
    boxes = DockerSandboxes(settings, install_id=install, clock=SystemClock())
    try:
        yield boxes
    finally:
        await boxes.reap(lambda _: False, now=SystemClock().now())
        await boxes.aclose()


async def output_of(sandbox: Any, command: str, timeout_s: float = 20) -> str:
    result = await sandbox.run(command, timeout_s=timeout_s)
    return result.output.decode("utf-8", "replace").strip()


# In the order of linux/capability.h.
CAPABILITIES = re.findall(
    r"\w+",
    """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    """,
)


def capabilities_here() -> list[str]:
    """Those that this machine's root has at all: in a virtual machine or container some are missing."""
    bits = int(re.search(r"CapBnd:\s*(\w+)", Path("/proc/self/status").read_text())[1], 16)  # type: ignore[index]
    return [name for number, name in enumerate(CAPABILITIES) if bits >> number & 1]
