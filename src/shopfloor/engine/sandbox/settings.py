"""The sandbox's slice of the settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shopfloor.engine.sandbox.port import SandboxLimits


def default_engine_url() -> str:
    """What Docker's own programs would use. Source: docker(1), DOCKER_HOST."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


class SandboxSettings(BaseModel):
    """How sandboxes are made on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine_url: str = Field(default_factory=default_engine_url, description="`unix:///...` or `tcp://host:port`.")
    image: str | None = Field(None, description="The default image; None: the one this version builds.")
    images: tuple[str, ...] = Field(
        (), description="The images that projects may name, by digest or id; empty: any that is on this machine."
    )
    runtime: Literal["runc", "runsc", "kata"] = Field("runc", description="runsc is gVisor.")
    debug: bool = Field(False, description="Every sandbox gets the debug seccomp profile (ptrace of own children).")
    state_dir: Path = Field(
        Path("/var/lib/shopfloor/sandboxes"),
        description="Records, locks and disk images of the sandboxes; on the engine's host, not on tmpfs or overlay.",
    )
    workspace_disk: Literal["auto", "hard", "soft"] = Field(
        "auto", description="`hard` refuses to work where no hard limit can be set; `soft` watches and kills."
    )
    warm_pool: int = Field(0, ge=0, le=64, description="Sandboxes with default limits kept ready.")
    warm_lifetime_s: int = Field(1800, ge=60, description="A warm sandbox nobody wanted is replaced after it.")
    max_open: int = Field(64, ge=1, le=4096, description="Sandboxes open at once in this process, warm ones included.")
    api_timeout_s: float = Field(30.0, gt=0, description="For one call to the engine.")
    start_timeout_s: float = Field(30.0, gt=0, description="From start to the first word of the exec server.")
    heartbeat_s: float = Field(5.0, gt=0, description="Between two questions whether the exec server is there.")
    heartbeat_limit_s: float = Field(20.0, gt=0, description="Silence after which the sandbox is killed.")
    environment_build_s: float = Field(1800.0, gt=0, description="For all set-up commands of an environment.")
    egress_allow_private: bool = Field(
        False, description="Allow-listed hosts may lead to private and loopback addresses (never to metadata services)."
    )
    limits: SandboxLimits = Field(default_factory=SandboxLimits)
