"""The container of a sandbox as the engine is asked for it, and the check from inside that it came out so.

BOX-1 to BOX-7 of the checklist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shopfloor.engine.sandbox.frames import Forged
from shopfloor.engine.sandbox.port import SandboxLimits, SandboxUnavailable
from shopfloor.engine.sandbox.profile import PROBE_ERRNO, Profile
from shopfloor.engine.sandbox.quota import AGENT_UID, Volume

GUEST: Final = "/run/shopfloor/guest"  # the exec server's files, read-only
EGRESS: Final = "/run/shopfloor/egress"  # the proxy's socket, read-only
EGRESS_SOCKET: Final = "proxy.sock"
BRIDGE_PORT: Final = 3128  # on the container's own loopback, see guest/bridge.py
PATH: Final = "/opt/env/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT: Final = (
    f"import sys; sys.path.insert(0, {GUEST!r}); from shopfloor.engine.sandbox.guest.main import main; main()"
)
_SHM_MIB: Final = 64
_TMP_INODES: Final = 65_536
# Interfaces the kernel puts into every new network namespace; they are down and lead nowhere.
_FALLBACK: Final = {"lo", "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides about one container."""

    name: str
    image: str
    limits: SandboxLimits
    profile: Profile
    volume: Volume
    runtime: str
    labels: Mapping[str, str]
    guest: Path | None  # where the exec server's files are on the host; None: the image has no Python
    egress: Path | None = None  # the folder of the proxy's socket
    egress_env: Mapping[str, str] = field(default_factory=dict[str, str])  # of commands; an image must not keep it
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    writable_root: bool = False  # only while an environment is built


def container_config(plan: Plan) -> dict[str, Any]:
    """The body of `POST /containers/create`. Source: Docker Engine API 1.41."""
    limits = plan.limits
    served = plan.guest is not None
    boot = ["python3", "-I", "-S", "-c", _BOOT, "/workspace", str(limits.lifetime_s)]
    if plan.egress is not None:
        boot += [str(BRIDGE_PORT), f"{EGRESS}/{EGRESS_SOCKET}"]
    return {
        "Image": plan.image,
        "Entrypoint": [],
        "Cmd": boot if served else ["sleep", str(limits.lifetime_s)],
        "User": f"{AGENT_UID}:{AGENT_UID}",
        "WorkingDir": "/workspace",
        "Env": [f"{key}={value}" for key, value in base_env(plan.env).items()],
        "Labels": dict(plan.labels),
        "Hostname": "sandbox",
        "NetworkDisabled": True,
        "OpenStdin": served,
        "StdinOnce": served,  # when the worker dies stdin ends, and with it the sandbox
        "AttachStdin": served,
        "AttachStdout": served,
        "AttachStderr": served,
        "Tty": False,
        "HostConfig": _host_config(plan, served=served),
    }


def _host_config(plan: Plan, *, served: bool) -> dict[str, Any]:
    limits = plan.limits
    memory = limits.memory_mib << 20
    return {
        "Runtime": plan.runtime,
        "NetworkMode": "none",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={plan.profile.text}"],
        "ReadonlyRootfs": not plan.writable_root,
        "Privileged": False,
        "Init": not served,  # the exec server is process 1 itself and reaps
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Memory": memory,
        "MemorySwap": memory,
        "NanoCpus": int(limits.cpus * 1_000_000_000),
        "PidsLimit": limits.pids,
        "OomKillDisable": False,
        "ShmSize": min(_SHM_MIB, limits.tmp_mib) << 20,
        "Tmpfs": {"/tmp": f"rw,nosuid,nodev,exec,size={limits.tmp_mib}m,nr_inodes={_TMP_INODES},mode=1777"},  # noqa: S108 - inside
        "Ulimits": [
            _ulimit("nofile", limits.nofile),
            _ulimit("fsize", limits.file_mib << 20),
            _ulimit("core", 0),
            _ulimit("memlock", 1 << 16),
        ],
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        "Mounts": _mounts(plan),
    }


def base_env(env: Mapping[str, str]) -> dict[str, str]:
    """What every command finds, and what the spec adds to it."""
    return {"HOME": "/tmp", "PATH": PATH, "LANG": "C.UTF-8", **env}  # noqa: S108 - inside


def _mounts(plan: Plan) -> list[dict[str, Any]]:
    mounts = [_bind(plan.volume.path, "/workspace", read_only=False)]
    if plan.guest is not None:
        mounts.append(_bind(plan.guest, GUEST, read_only=True))
    if plan.egress is not None:
        mounts.append(_bind(plan.egress, EGRESS, read_only=True))
    return mounts


def _bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    options = {"Propagation": "rprivate"}
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only, "BindOptions": options}


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}


def check_hello(hello: Mapping[str, Any], plan: Plan) -> None:
    """Compare what is in force, seen from inside, with what was asked for. Raises: SandboxUnavailable.

    It is asked before anything of the job runs, so the answer is still our own program's.
    """
    try:
        wrong = [text for holds, text in _expectations(hello, plan) if not holds]
    except (KeyError, TypeError, ValueError) as error:
        raise Forged("a greeting of another shape") from error
    if wrong:
        raise SandboxUnavailable(
            "the engine did not enforce what it was asked for, so no job runs here: " + "; ".join(wrong), wrong=wrong
        )


def _expectations(hello: Mapping[str, Any], plan: Plan) -> list[tuple[bool, str]]:
    limits = plan.limits
    found = [
        (hello["uid"] == AGENT_UID, f"the user is {hello['uid']}"),
        (hello["pid"] == 1, "the exec server is not process 1"),
        (all(int(each, 16) == 0 for each in hello["capabilities"]), "capabilities are left"),
        (set(hello["interfaces"]) <= _FALLBACK, f"network interfaces: {hello['interfaces']}"),
        (hello["root_read_only"] is not plan.writable_root, "the root file system can be written"),
        (hello["tmp_bytes"] <= limits.tmp_mib << 20, "/tmp is larger than asked for"),  # noqa: S108 - a sentence
    ]
    if plan.volume.level == "hard":
        disk = hello["workspace_bytes"] <= plan.volume.limit_bytes
        found.append((disk, "/workspace is not the disk that was made for it: does the engine run on another host?"))
    if plan.runtime == "runc":  # gVisor and Kata bring a kernel of their own that does not report these
        found.append((hello["no_new_privs"] == 1, "no-new-privileges is off"))
        found.append((hello["seccomp"] == 2, "no seccomp filter is in force"))  # noqa: PLR2004 - SECCOMP_MODE_FILTER
        known = hello["probe_errno"] in {PROBE_ERRNO, -1}
        found.append((known, f"another seccomp profile is in force (probe {hello['probe_errno']})"))
    return found
