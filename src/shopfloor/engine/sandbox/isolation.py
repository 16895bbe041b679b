"""What a sandbox has in force, told from what the engine says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shopfloor.engine.sandbox.port import Isolation, Level, SandboxUnavailable

_RUNTIMES: Final = {
    "runc": ("runc", "io.containerd.runc.v2"),
    "runsc": ("runsc",),
    "kata": ("kata", "kata-runtime", "io.containerd.kata.v2"),
}


def runtime_name(wanted: str, info: Mapping[str, Any]) -> str:
    """The engine's name for a runtime. Raises: SandboxUnavailable when it has none."""
    known: dict[str, Any] = info.get("Runtimes") or {}
    for name in _RUNTIMES[wanted]:
        if name in known:
            return name
    raise SandboxUnavailable(
        f"the engine has no runtime {wanted}: install it and add it to daemon.json, or set SHOPFLOOR_SANDBOX__RUNTIME",
        runtime=wanted,
        known=sorted(known),
    )


def describe(
    info: Mapping[str, Any], *, profile: str, runtime: str, disk: Level, why_soft: str, egress: bool
) -> Isolation:
    """See Isolation. Raises: SandboxUnavailable when the engine has no seccomp at all."""
    options: list[str] = info.get("SecurityOptions") or []
    if runtime in _RUNTIMES["runc"] and not any(option.startswith("name=seccomp") for option in options):
        raise SandboxUnavailable("the engine was built or started without seccomp: no sandbox opens without a profile")
    notes: list[str] = []
    if disk != "hard":
        notes.append(f"disk limit found and killed after the fact: {why_soft}")
    if not info.get("SwapLimit"):
        notes.append("the engine does not limit swap; the host should have none")
    if runtime not in _RUNTIMES["runc"]:
        notes.append(f"{runtime} brings its own kernel: the seccomp profile is not applied to it")
    return Isolation(
        backend="docker",
        runtime=runtime,
        disk=disk,
        memory=_level(info, "MemoryLimit", notes),
        cpu=_level(info, "CpuCfsQuota", notes),
        pids=_level(info, "PidsLimit", notes),
        network="allow-list" if egress else "none",
        seccomp=profile,
        apparmor="docker-default" if any(option.startswith("name=apparmor") for option in options) else None,
        notes=tuple(notes),
    )


def _level(info: Mapping[str, Any], key: str, notes: list[str]) -> Level:
    if info.get(key):
        return "hard"
    notes.append(f"the engine's host does not enforce {key}")
    return "none"
