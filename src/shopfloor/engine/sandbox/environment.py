"""Environments: a project's own image and set-up commands, run once in a build sandbox and kept as an image by content.

/workspace is a disk of its own, not part of an image, so two things are kept (docs/reference/sandbox.md): /opt/env, a
virtual environment first in PATH, with the build's HOME in /opt/env/home; and what the commands added to /workspace
(node_modules, build output) as /opt/env/workspace.tar, unpacked into every sandbox made from it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from shopfloor.engine.sandbox.image import check_image
from shopfloor.engine.sandbox.launch import Launched, Launcher
from shopfloor.engine.sandbox.port import Environment, EnvironmentFailed, ImageMissing, Sandbox, SandboxSpec
from shopfloor.engine.sandbox.quota import AGENT_UID
from shopfloor.engine.workspace import CommandResult, FileMissing

LABEL: Final = "shopfloor.environment"
INSTALL_LABEL: Final = "shopfloor.environment.install"  # several installs may share an engine
REPOSITORY: Final = "shopfloor-env"
HOME: Final = "/opt/env/home"
_COMMIT_S: Final = 300.0
_TAIL: Final = 4000  # characters of a failed command's output in the error
_FORMAT: Final = "2"  # change it when the way environments are made changes
_DIGEST: Final = re.compile(r"([\w./:-]+@)?sha256:[0-9a-f]{64}")
_BEGIN: Final = (
    "set -e; mkdir -p /opt/env/home; "
    "if python3 -c 'import venv' 2>/dev/null; then "
    "python3 -m venv --system-site-packages --without-pip /opt/env; "
    "if /opt/env/bin/python -c 'import pip' 2>/dev/null; then "  # the image's own: 4 s faster than a copy by ensurepip
    "printf '#!/opt/env/bin/python\\nimport sys\\nfrom pip._internal.cli.main import main\\nsys.exit(main())\\n' "
    "> /opt/env/bin/pip; chmod +x /opt/env/bin/pip; ln -s pip /opt/env/bin/pip3; "
    "else /opt/env/bin/python -m ensurepip || true; fi; fi; "
    "find . -path ./.git -prune -o -print0 | LC_ALL=C sort -z > /tmp/before"
)
_END: Final = (
    "set -e; find . -path ./.git -prune -o -print0 | LC_ALL=C sort -z > /tmp/after; "
    "LC_ALL=C comm -z -13 /tmp/before /tmp/after > /tmp/added; "
    "if [ -s /tmp/added ]; then tar --create --null --no-recursion --verbatim-files-from --files-from=/tmp/added "
    "--file=/opt/env/workspace.tar; fi"
)
_UNPACK: Final = (
    "if [ -f /opt/env/workspace.tar ]; then tar --extract --skip-old-files --file=/opt/env/workspace.tar; fi"
)


class Builds:
    """The environments of one install; one build at a time for each key."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted: dict[str, float] = {}  # name of an image: when it was last asked for here, in Unix seconds

    async def prepare(
        self, environment: Environment, spec: SandboxSpec, fill: Callable[[Sandbox], Awaitable[None]]
    ) -> str:
        """See Sandboxes.prepare."""
        name = await self._prepared(environment, spec, fill)
        self._wanted[name] = self._launcher.clock.now().timestamp()
        return name

    async def _prepared(
        self, environment: Environment, spec: SandboxSpec, fill: Callable[[Sandbox], Awaitable[None]]
    ) -> str:
        base = await self._base(environment)
        if not environment.setup:
            return environment.image or await self._default_name()
        if not environment.lock_files:
            name = f"{REPOSITORY}:{environment_key(base, environment, {})}"
            if await self._launcher.engine.image(name) is not None:
                return name
        return await self._build(base, environment, replace(spec, purpose="build", image=environment.image), fill)

    async def prune(self, *, keep: int) -> int:
        """See Sandboxes.prune_environments. One that a container is made from stays."""
        engine = self._launcher.engine
        images = await engine.images(f"{INSTALL_LABEL}={self._launcher.install_id}")
        images.sort(key=self._last_wanted, reverse=True)
        for image in images[keep:]:
            await engine.remove_image(str(image["Id"]))
        return len(images[keep:])

    def _last_wanted(self, image: dict[str, Any]) -> float:
        names: list[str] = image.get("RepoTags") or []
        return max(float(image.get("Created", 0)), *(self._wanted.get(name, 0.0) for name in names), 0.0)

    async def _base(self, environment: Environment) -> str:
        """The id of the image that an environment starts from."""
        engine, wanted = self._launcher.engine, environment.image
        if wanted is None:
            return await check_image(engine, self._launcher.settings.image)
        if not _DIGEST.fullmatch(wanted):
            raise EnvironmentFailed(
                f"{wanted} is not named by digest: write it as name@sha256:..., or as sha256:... with the id that "
                "`docker image inspect --format {{.Id}}` shows, so that it can't change",
                image=wanted,
            )
        allowed = self._launcher.settings.images
        if allowed and wanted not in allowed:
            raise EnvironmentFailed(
                f"{wanted} is not among the images that projects may use here. Name one of those, or ask whoever runs "
                f"this installation to add it to SHOPFLOOR_SANDBOX__IMAGES. Allowed: {', '.join(allowed)}",
                image=wanted,
            )
        found = await engine.image(wanted)
        if found is None:
            bring = f"docker pull {wanted}" if "@" in wanted else "docker load, docker build"
            raise ImageMissing(f"{wanted} is not on this machine, and workers never pull: `{bring}`", image=wanted)
        config: dict[str, Any] = found.get("Config") or {}
        if LABEL in (config.get("Labels") or {}):
            raise EnvironmentFailed(
                f"{wanted} is, or was made from, an environment that was built for one project: name an image of your "
                "own, and commands in `setup`",
                image=wanted,
            )
        return str(found["Id"])

    async def _default_name(self) -> str:
        return self._launcher.settings.image or await check_image(self._launcher.engine, None)

    async def _build(
        self, base: str, environment: Environment, spec: SandboxSpec, fill: Callable[[Sandbox], Awaitable[None]]
    ) -> str:
        """The repository has to be there first: its lock files belong to the key."""
        spec = replace(spec, env={**spec.env, "HOME": HOME, "VIRTUAL_ENV": "/opt/env"})
        launched = await self._launcher.launch(spec, job=spec.job_id, writable_root=True)
        try:
            await fill(launched.sandbox)
            locks = {path: await _digest(launched.sandbox, path) for path in environment.lock_files}
            key = environment_key(base, environment, locks)
            async with self._locks.setdefault(key, asyncio.Lock()):
                name = f"{REPOSITORY}:{key}"
                if await self._launcher.engine.image(name) is None:
                    await self._make(launched, environment, key)
                return name
        finally:
            await self._launcher.close(launched)

    async def _make(self, launched: Launched, environment: Environment, key: str) -> None:
        engine, sandbox = self._launcher.engine, launched.sandbox
        await engine.put_archive(sandbox.id, "/opt", _owned_folder("env"))
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._launcher.settings.environment_build_s
        for command in (_BEGIN, *environment.setup, _END):
            result = await sandbox.run(command, timeout_s=max(1.0, latest - loop.time()), max_output_bytes=65_536)
            if not result.ok:
                shown = command if command in environment.setup else "the platform's own step"
                raise EnvironmentFailed(_failure(shown, result), command=shown, exit_code=result.exit_code)
        labels = {LABEL: key, INSTALL_LABEL: self._launcher.install_id}
        await engine.commit(sandbox.id, REPOSITORY, key, labels, timeout_s=_COMMIT_S)


async def unpack(sandbox: Sandbox, spec: SandboxSpec) -> None:
    """Put back into /workspace what an environment's set-up made there."""
    if spec.image is None or not spec.image.startswith(REPOSITORY + ":"):
        return
    result = await sandbox.run(_UNPACK, timeout_s=_COMMIT_S)
    if not result.ok:
        raise EnvironmentFailed(_failure("unpacking the environment's workspace files", result))


def environment_key(base: str, environment: Environment, locks: dict[str, str]) -> str:
    """40 hex digits over whose it is, the image's digest, the commands in order and the lock files' contents.

    Without lock files the commit stands for them. Set-up runs what the repository says and sees all of it, so what one
    scope has built is never another's: neither the files of a private repository nor what a hostile one put there.
    """
    contents = sorted(locks.items()) if environment.lock_files else environment.commit
    parts = [_FORMAT, environment.scope, base, list(environment.setup), contents]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


async def _digest(sandbox: Sandbox, path: str) -> str:
    try:
        return (await sandbox.read_file(path, limit_bytes=1)).digest
    except FileMissing as error:
        raise EnvironmentFailed(f"the lock file {path} is not in the repository", path=path) from error


def _owned_folder(name: str) -> bytes:
    """A tar archive with one folder that belongs to the agent's user."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, 0o755, AGENT_UID, AGENT_UID
        tar.addfile(info)
    return buffer.getvalue()


def _failure(command: str, result: CommandResult) -> str:
    ending = "ran out of time" if result.timed_out else f"ended with status {result.exit_code}"
    return f"`{command}` {ending}; the end of its output:\n{result.output.decode('utf-8', 'replace')[-_TAIL:]}"
