"""The disk behind /workspace: a file of fixed size, made an ext4 and loop-mounted; the kernel itself says "full".

Where this process may not mount, a plain folder that is watched: reported as `soft`, never silently.
mkfs takes 10 ms and writes 172 KB for 4 GiB (no journal, tables filled when used), so nothing is cached.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shopfloor.engine.sandbox.port import Level, SandboxUnavailable

AGENT_UID = 10001
_LIMIT_S = 60.0  # for one run of mkfs, mount or umount
_FEATURES = "^has_journal,^resize_inode"  # it lives for one job: a crash throws it away
_OPTIONS = "loop,nodev,nosuid,noatime,noinit_itable"


@dataclass(frozen=True, slots=True)
class Volume:
    """A folder to be mounted at /workspace."""

    path: Path
    level: Level
    limit_bytes: int


_MOST_INODES_PER_MIB = 128  # more would fill a small disk with tables: 256 bytes each


class Volumes:
    """The disks of one install's sandboxes, below one folder: `<name>.img` and its mount point `<name>`."""

    def __init__(self, folder: Path, mode: Literal["auto", "hard", "soft"] = "auto") -> None:
        self._folder = folder
        self._mode = mode
        self._level: Level | None = None
        self._probing = asyncio.Lock()

    async def level(self) -> tuple[Level, str]:
        """What can be enforced here, and why not more. Raises: SandboxUnavailable if `hard` is demanded in vain."""
        async with self._probing:
            if self._level is None:
                self._level, self._reason = await self._probe()
        if self._mode == "hard" and self._level != "hard":
            raise SandboxUnavailable(
                f"workspace_disk=hard, but no disk image can be mounted here: {self._reason}. "
                "Run the worker as root, or set SHOPFLOOR_SANDBOX__WORKSPACE_DISK=auto",
                cause=self._reason,
            )
        return self._level, self._reason

    def reserve(self, name: str) -> Path:
        """The folder that the disk will be mounted on: it has to exist before a container can name it."""
        path = self._folder / name
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.mkdir(exist_ok=True)
        return path

    async def create(self, name: str, *, size_mib: int, inodes: int) -> Volume:
        """An empty disk that belongs to the agent's user. Raises: SandboxUnavailable."""
        level, _ = await self.level()
        self.reserve(name)
        if level == "hard":
            await self._mount(name, size_mib, min(inodes, size_mib * _MOST_INODES_PER_MIB))
        else:
            _plain_folder(self._folder / name)
        return Volume(self._folder / name, level, size_mib << 20)

    async def remove(self, name: str) -> None:
        """Unmount and delete; nothing to do is fine."""
        path = self._folder / name
        if _is_mounted(path):
            status, _ = await _run("umount", str(path))
            if status:  # somebody still has a file open: the loop device goes when they close it
                await _run("umount", "--lazy", str(path))
        self._image(name).unlink(missing_ok=True)
        if path.exists() and not _is_mounted(path):
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    def names(self) -> set[str]:
        """Of every disk there is, or the rest of one."""
        if not self._folder.exists():
            return set()
        return {path.name.removesuffix(".img") for path in self._folder.iterdir()}

    async def _probe(self) -> tuple[Level, str]:
        if self._mode == "soft":
            return "soft", "workspace_disk=soft is set"
        if os.geteuid() != 0:
            return "soft", "only root can mount a disk image"
        name = f"probe-{os.getpid()}"
        self.reserve(name)
        try:
            await self._mount(name, 8, 64)
        except SandboxUnavailable as error:
            return "soft", str(error.facts.get("cause", error.detail))
        finally:
            await self.remove(name)
        return "hard", ""

    async def _mount(self, name: str, size_mib: int, inodes: int) -> None:
        image, path = self._image(name), self._folder / name
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        image.chmod(0o600)
        owner = f"root_owner={AGENT_UID}:{AGENT_UID},lazy_itable_init=1,nodiscard"
        make = ("mkfs.ext4", "-q", "-F", "-m", "0", "-O", _FEATURES, "-E", owner, "-N", str(inodes), str(image))
        for command in (make, ("mount", "-t", "ext4", "-o", _OPTIONS, str(image), str(path))):
            status, output = await _run(*command)
            if status:
                raise SandboxUnavailable(f"{command[0]} failed for a workspace disk: {output}", cause=output)
        with suppress(FileNotFoundError):
            (path / "lost+found").rmdir()

    def _image(self, name: str) -> Path:
        return self._folder / f"{name}.img"


def _is_mounted(path: Path) -> bool:
    return os.path.ismount(path)


def used_bytes(folder: Path) -> tuple[int, bool]:
    """What the files below a folder take on disk, and whether that is all: not if we may not look into some folder.

    Links aren't followed, what vanishes meanwhile isn't counted.
    """
    total, hidden = 0, list[OSError]()

    def closed(error: OSError) -> None:
        if isinstance(error, PermissionError):
            hidden.append(error)

    for _, folders, names, fd in os.fwalk(folder, follow_symlinks=False, onerror=closed):
        for name in (*folders, *names):
            try:
                total += os.stat(name, dir_fd=fd, follow_symlinks=False).st_blocks * 512
            except OSError as error:
                closed(error)
    return total, not hidden


def _plain_folder(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, AGENT_UID, AGENT_UID)
    else:
        path.chmod(0o777)  # the agent's user is another one than ours


async def _run(*command: str) -> tuple[int, str]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=environment,
        )  # fmt: skip
    except FileNotFoundError:
        return 127, f"{command[0]} is not installed"
    try:
        async with asyncio.timeout(_LIMIT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, f"{command[0]} took longer than {_LIMIT_S:.0f} s"
    return process.returncode or 0, output.decode("utf-8", "replace").strip()
