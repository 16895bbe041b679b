"""The port of the sandbox backends: open one, ask what it enforces, reap what nobody owns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol
from uuid import UUID

from shopfloor.base.errors import ShopfloorError
from shopfloor.engine.workspace import Workspace

Level = Literal["hard", "soft", "none"]  # hard: the kernel refuses; soft: found and killed after the fact


class SandboxUnavailable(ShopfloorError):
    """The engine does not answer, or refuses; the detail says what to start or to set."""

    status: ClassVar[int] = 503
    title: ClassVar[str] = "No sandbox can be opened"
    retryable: ClassVar[bool] = True


class ImageMissing(ShopfloorError):
    """The image is not on this machine, or is not one that this version made; workers never pull at job time."""

    status: ClassVar[int] = 503
    title: ClassVar[str] = "The sandbox image is missing"


class EnvironmentFailed(ShopfloorError):
    """A set-up command of the project's environment failed; the detail holds the end of its output."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The project's environment could not be built"


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one sandbox may use."""

    cpus: float = 2.0
    memory_mib: int = 2048  # swap off: memory and memory+swap are the same
    pids: int = 256
    workspace_mib: int = 4096
    workspace_inodes: int = 262_144
    tmp_mib: int = 256  # tmpfs: counts as memory
    nofile: int = 4096
    file_mib: int = 2048  # one file (RLIMIT_FSIZE)
    lifetime_s: int = 7200  # the sandbox is killed after it, whatever its owner does


@dataclass(frozen=True, slots=True)
class NetworkEvent:
    """Something new on a sandbox's way out; each is told once, and not more than a few hundred."""

    kind: Literal["network.allowed", "network.refused"]
    place: str  # `host:port`; of a refused request whatever it named, as visible ASCII
    reason: str = ""  # of a refusal, a stable word: docs/how-to/allow-network.md lists them


@dataclass(frozen=True, slots=True)
class Egress:
    """Which hosts may be reached through the proxy: `pypi.example:443`, `*.example.org:443`. Empty: no network."""

    allow: tuple[str, ...] = ()
    # Called for each new event; it may neither wait nor raise.
    report: Callable[[NetworkEvent], None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Environment:
    """A project's own image and set-up commands, built once for its project and cached by content."""

    image: str | None = None  # `name@sha256:...`, or `sha256:...`, the id of a local image; None: the default image
    setup: tuple[str, ...] = ()  # run in /workspace, in order, with the project's egress
    lock_files: tuple[str, ...] = ()  # their contents belong to the key
    scope: str = ""  # whose it is: nobody in another scope is given it
    commit: str = ""  # what `fill` brings; belongs to the key where no lock file says what set-up depends on


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What to open, and for whom."""

    job_id: UUID
    run_id: UUID
    purpose: Literal["agent", "check", "build"] = "agent"
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    egress: Egress = field(default_factory=Egress)
    image: str | None = None  # as prepared by an environment build; None: the default image
    env: Mapping[str, str] = field(default_factory=dict[str, str])  # never a secret
    debug: bool = False  # the `debug` seccomp profile: ptrace of own children


@dataclass(frozen=True, slots=True)
class Isolation:
    """What is enforced, shown with every job and never silently weaker."""

    backend: str  # docker
    runtime: str  # runc, runsc, kata
    disk: Level
    memory: Level
    cpu: Level
    pids: Level
    network: Literal["none", "allow-list"]
    seccomp: str  # the profile's name and digest
    apparmor: str | None
    notes: tuple[str, ...] = ()  # what is reduced, and why


class Sandbox(Workspace, Protocol):
    """One open sandbox, used once. Close it in `finally`; the reaper is for crashes."""

    @property
    def id(self) -> str:
        """The engine's id of it."""
        ...

    @property
    def isolation(self) -> Isolation:
        """What is enforced on it."""
        ...

    async def aclose(self) -> None:
        """Kill and remove it and its volume; safe to call twice, and never raises for what is already gone."""
        ...


class Sandboxes(Protocol):
    """A backend. One a process."""

    async def open(self, spec: SandboxSpec) -> Sandbox:
        """A new sandbox, from the warm pool if one fits. Raises: SandboxUnavailable, ImageMissing."""
        ...

    async def prepare(
        self, environment: Environment, spec: SandboxSpec, fill: Callable[[Sandbox], Awaitable[None]]
    ) -> str:
        """The image for an environment, built now unless it is cached; `fill` puts the repository into the build.

        Raises: EnvironmentFailed, ImageMissing, SandboxUnavailable.
        """
        ...

    async def prune_environments(self, *, keep: int) -> int:
        """Remove all environments of this install but the `keep` used or built last; how many went."""
        ...

    async def reap(self, is_live: Callable[[UUID], bool], *, now: datetime) -> int:
        """Remove every sandbox of this install whose job is not live or whose deadline passed; how many."""
        ...

    async def health(self) -> Isolation:
        """What a sandbox opened now would enforce. Raises: SandboxUnavailable, ImageMissing."""
        ...

    async def aclose(self) -> None:
        """Close the warm pool and the connection."""
        ...
