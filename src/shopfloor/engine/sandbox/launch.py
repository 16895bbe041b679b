"""From a spec to a running sandbox, and back to nothing: every step leaves what the reaper needs to undo it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from shopfloor.base.clock import Clock
from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox import errand
from shopfloor.engine.sandbox.attach import attach_container
from shopfloor.engine.sandbox.channel import Channel
from shopfloor.engine.sandbox.engine import Engine
from shopfloor.engine.sandbox.engine_exec import ExecWorkspace
from shopfloor.engine.sandbox.frames import Forged
from shopfloor.engine.sandbox.hardening import Plan, base_env, check_hello, container_config
from shopfloor.engine.sandbox.image import check_image
from shopfloor.engine.sandbox.isolation import describe, runtime_name
from shopfloor.engine.sandbox.opened import OpenSandbox
from shopfloor.engine.sandbox.port import Egress, Isolation, SandboxSpec, SandboxUnavailable
from shopfloor.engine.sandbox.profile import load_profile
from shopfloor.engine.sandbox.quota import Volume, Volumes, used_bytes
from shopfloor.engine.sandbox.records import GRACE_S, OWNER_LABEL, Record, Records
from shopfloor.engine.sandbox.served import ServedWorkspace
from shopfloor.engine.sandbox.settings import SandboxSettings
from shopfloor.engine.workspace import Workspace, WorkspaceLost

log = structlog.get_logger(__name__)

_WATCH_S: Final = 2.0  # between two looks at a disk that only we limit
_NO_PYTHON: Final = ("executable file not found", "no such file or directory")
_GUEST_PACKAGE: Final = Path("shopfloor/engine/sandbox/guest")


class EgressDoor(Protocol):
    """Who opens the way out: a proxy on a unix socket in a folder of its own, one for each sandbox."""

    async def open(self, sandbox: str, egress: Egress) -> tuple[Path, Mapping[str, str]]:
        """The folder to mount at /run/shopfloor/egress, and the variables that point programs to it."""
        ...

    async def close(self, sandbox: str) -> None:
        """Shut it; nothing to do is fine. The reaper calls it too."""
        ...


@dataclass(slots=True)
class Launched:
    """A running container with what belongs to it."""

    sandbox: OpenSandbox
    plan: Plan
    channel: Channel | None  # None: no exec server, commands go through the engine
    env: dict[str, str]  # of every command; the warm pool adds to it when it is claimed
    chores: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])


class Launcher:
    """Starts and removes the containers of one install."""

    def __init__(
        self, settings: SandboxSettings, install_id: str, clock: Clock, engine: Engine, egress: EgressDoor | None
    ) -> None:
        self.settings = settings
        self.install_id = install_id
        self.clock = clock
        self.engine = engine
        folder = settings.state_dir / install_id
        self.records = Records(folder)
        self.volumes = Volumes(folder / "volumes", settings.workspace_disk)
        self._guest = _guest_files(folder)
        self._egress = egress
        self._info: dict[str, Any] | None = None
        self._without_python: set[str] = set()
        self._chores: set[asyncio.Task[None]] = set()

    async def info(self) -> dict[str, Any]:
        """What the engine says of itself, asked once."""
        if self._info is None:
            self._info = await self.engine.info()
        return self._info

    async def launch(self, spec: SandboxSpec, *, job: UUID, writable_root: bool = False) -> Launched:
        """A new sandbox, checked from inside. Raises: SandboxUnavailable, ImageMissing."""
        image = await check_image(self.engine, spec.image or self.settings.image)
        name = f"sf-{self.install_id[:12]}-{new_id().hex}"
        deadline = self.clock.now() + timedelta(seconds=spec.limits.lifetime_s + GRACE_S)
        record = Record(name, str(job), str(spec.run_id), spec.purpose, deadline.isoformat(), self.records.worker)
        self.records.write(record)
        try:
            plan = await self._plan(spec, record, image, writable_root=writable_root)
            return await self._start(plan, image, spec)
        except BaseException:
            await self.remove(name)
            raise

    async def remove(self, name: str) -> None:
        """Nothing of it is left, the record last; safe to repeat, and it goes on to its end when cancelled."""
        task = asyncio.create_task(self._remove(name))
        self._keep(task)
        await asyncio.shield(task)

    async def _remove(self, name: str) -> None:
        await self.engine.remove(name)
        if self._egress is not None:
            await self._egress.close(name)
        await self.volumes.remove(name)
        if name in self.volumes.names():
            await self._empty(name)
        self.records.remove(name)

    async def _empty(self, name: str) -> None:
        """A worker that isn't root can't delete what the agent's user made; what stays is tried again by the reaper."""
        folder = self.volumes.reserve(name)
        image = await check_image(self.engine, self.settings.image)
        await errand.empty(self.engine, image, folder, {OWNER_LABEL: self.install_id})
        await self.volumes.remove(name)
        if folder.exists():
            log.warning("sandbox.disk_left", path=str(folder))

    async def _plan(self, spec: SandboxSpec, record: Record, image: str, *, writable_root: bool) -> Plan:
        level, _ = await self.volumes.level()
        limits = spec.limits
        path = self.volumes.reserve(record.name)
        door: Path | None = None
        env: Mapping[str, str] = {}
        if spec.egress.allow:
            if self._egress is None:
                raise SandboxUnavailable("this worker has no egress proxy, and the sandbox asks for a way out")
            door, env = await self._egress.open(record.name, spec.egress)
        labels = {
            OWNER_LABEL: self.install_id,
            "shopfloor.job": record.job,
            "shopfloor.run": record.run,
            "shopfloor.purpose": record.purpose,
            "shopfloor.deadline": record.deadline,
        }
        return Plan(
            name=record.name,
            image=image,
            limits=limits,
            profile=load_profile(debug=spec.debug or self.settings.debug),
            volume=Volume(path, level, limits.workspace_mib << 20),
            runtime=runtime_name(self.settings.runtime, await self.info()),
            labels=labels,
            guest=None if image in self._without_python else self._guest,
            egress=door,
            egress_env=env,
            env=spec.env,
            writable_root=writable_root,
        )

    async def _start(self, plan: Plan, image: str, spec: SandboxSpec) -> Launched:
        limits = plan.limits
        making = asyncio.create_task(
            self.volumes.create(plan.name, size_mib=limits.workspace_mib, inodes=limits.workspace_inodes)
        )
        try:
            container = await _to_its_end(self.engine.create(plan.name, container_config(plan)))
        finally:
            await making  # also when the container can't be made: half a disk is no disk to remove
        try:
            return await self._run(plan, container, spec)
        except SandboxUnavailable as error:
            if plan.guest is None or not any(text in error.detail for text in _NO_PYTHON):
                raise
        self._without_python.add(image)
        await self.engine.remove(plan.name)
        plan = replace(plan, guest=None)
        return await self._run(plan, await self.engine.create(plan.name, container_config(plan)), spec)

    async def _run(self, plan: Plan, container: str, spec: SandboxSpec) -> Launched:
        env = {**plan.egress_env, **base_env(plan.env)}
        isolation = await self.isolation(plan.profile.name, plan.runtime, egress=bool(spec.egress.allow))
        if plan.guest is None:
            await self.engine.start(container)
            workspace: Workspace = ExecWorkspace(self.engine, container, env)
            note = "no Python in the image: commands go through the engine"
            if plan.egress is not None:
                note += ", and nothing in the sandbox leads programs to the egress proxy"
            isolation = replace(isolation, notes=(*isolation.notes, note))
            channel = None
        else:
            channel = await self._attach(plan, container)
            workspace = ServedWorkspace(channel, env)
            env = workspace.env
        sandbox = OpenSandbox(plan.name, container, workspace, isolation, lambda: self.close(launched))
        launched = Launched(sandbox, plan, channel, env)
        if plan.volume.level == "soft":
            launched.chores.append(asyncio.create_task(self._watch_disk(launched)))
        return launched

    async def _attach(self, plan: Plan, container: str) -> Channel:
        """Start it with its streams in our hands, and believe nothing before its greeting has been checked."""
        limit_s = self.settings.start_timeout_s
        streams = await attach_container(self.settings.engine_url, container, timeout_s=self.settings.api_timeout_s)
        channel = Channel(
            streams, on_lost=lambda _: self._kill_later(plan.name), silence_s=self.settings.heartbeat_limit_s
        )
        try:
            await self.engine.start(container)
            check_hello(await channel.greet(limit_s), plan)
        except (WorkspaceLost, Forged) as error:
            await channel.aclose()
            raise SandboxUnavailable(f"a sandbox did not come up: {error}", cause=str(error)) from error
        except BaseException:
            await channel.aclose()
            raise
        channel.beat(self.settings.heartbeat_s)
        return channel

    async def close(self, launched: Launched) -> None:
        """End a sandbox; never raises for what is already gone."""
        for chore in launched.chores:
            chore.cancel()
        if launched.channel is not None:
            await launched.channel.aclose()
        with suppress(SandboxUnavailable):  # the engine does not answer: the reaper comes back for it
            await self.remove(launched.sandbox.name)

    async def isolation(self, profile: str, runtime: str, *, egress: bool) -> Isolation:
        """What a sandbox of this install has."""
        level, reason = await self.volumes.level()
        return describe(await self.info(), profile=profile, runtime=runtime, disk=level, why_soft=reason, egress=egress)

    async def aclose(self) -> None:
        """Wait for what is being removed and give up the worker's lock."""
        await asyncio.gather(*self._chores, return_exceptions=True)
        self.records.close()
        await self.engine.aclose()

    def _kill_later(self, name: str) -> None:
        self._keep(asyncio.create_task(self._kill(name)))

    async def _kill(self, name: str) -> None:
        try:
            await self.engine.kill(name)
        except SandboxUnavailable:  # the engine is gone: its containers end with their stdin, the reaper clears up
            return

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _watch_disk(self, launched: Launched) -> None:
        volume = launched.plan.volume
        while True:
            await self.clock.sleep(_WATCH_S)
            if await self._is_over(volume):
                if launched.channel is not None:
                    launched.channel.lose(f"its files took more than the {volume.limit_bytes} bytes that are allowed")
                else:
                    self._kill_later(launched.sandbox.name)
                return

    async def _is_over(self, volume: Volume) -> bool:
        used, complete = await asyncio.to_thread(used_bytes, volume.path)
        if complete or used > volume.limit_bytes:
            return used > volume.limit_bytes
        try:
            image = await check_image(self.engine, self.settings.image)
            labels = {OWNER_LABEL: self.install_id}
            return await errand.is_over(self.engine, image, volume.path, volume.limit_bytes, labels)
        except ShopfloorError as error:  # the engine is busy: the next look is in two seconds
            log.warning("sandbox.disk_unmeasured", path=str(volume.path), error=error.detail)
            return False


async def _to_its_end(work: Coroutine[Any, Any, str]) -> str:
    """Cancelling waits for it: a container that the engine makes behind our back could not be removed."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _guest_files(folder: Path) -> Path:
    """The exec server's files where the engine can see them, in a folder named by their content."""
    source = files("shopfloor.engine.sandbox.guest")
    texts = {entry.name: entry.read_bytes() for entry in source.iterdir() if entry.name.endswith(".py")}
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:16]
    target = folder / f"guest-{digest}"
    if target.exists():
        return target
    made = folder / f"guest-{digest}.{new_id().hex}"
    package = made / _GUEST_PACKAGE
    package.mkdir(parents=True)
    for name, content in texts.items():
        (package / name).write_bytes(content)
    for path in (made, *made.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        made.rename(target)
    except OSError:  # another worker was faster
        shutil.rmtree(made, ignore_errors=True)
    return target
