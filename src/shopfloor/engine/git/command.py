"""Runs the platform's own `git`: nothing of the machine's or a repository's configuration decides what it executes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shopfloor.engine.git.errors import GitFailed, GitMissing, GitTimeout, local_failure
from shopfloor.infra.outbound import OutboundRules

_CHUNK_BYTES = 65_536
_STDERR_BYTES = 65_536
_WATCH_S = 0.2
_OLDEST = (2, 37)
_VERSIONS_SEEN: set[str] = set()  # executables that are new enough: asked once a process

# Values that a repository, an account or the machine could otherwise set. `-c` wins over every file.
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.sshCommand": "/bin/false",
    "core.askPass": "/bin/false",
    "core.gitProxy": "/bin/false",
    "core.alternateRefsCommand": "/bin/true",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.pager": "cat",
    "core.editor": "/bin/false",
    "core.logAllRefUpdates": "false",
    "credential.helper": "",
    "gpg.program": "/bin/false",
    "commit.gpgSign": "false",
    "push.gpgSign": "false",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "protocol.version": "2",
    "http.followRedirects": "false",
    "http.proxy": "",
    "http.sslVerify": "true",
    "http.saveCookies": "false",
    "http.lowSpeedLimit": "1000",  # bytes a second ...
    "http.lowSpeedTime": "60",  # ... for this many seconds end a transfer
    "transfer.bundleURI": "false",  # a server may not name further places to fetch from
    "fetch.uriProtocols": "",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "transfer.fsckObjects": "true",
    "transfer.unpackLimit": "1",  # always one pack, whose size can be watched
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Bounds of memory, whatever a pack holds.
    "core.bigFileThreshold": "32m",
    "core.deltaBaseCacheLimit": "64m",
    "core.packedGitLimit": "256m",
    "pack.windowMemory": "64m",
    "pack.threads": "2",
}


@dataclass(frozen=True, slots=True)
class GitSettings:
    """What the platform's Git may reach and use."""

    outbound: OutboundRules = field(default_factory=OutboundRules)
    executable: str = "git"
    ca_file: Path | None = None  # certificates to trust instead of the machine's
    command_timeout_s: float = 120.0  # a command that stays on this machine
    transfer_timeout_s: float = 900.0  # one that talks to a server
    max_repository_bytes: int = 2 * 1024**3  # fetched in one go, as packed on the wire
    max_bundle_bytes: int = 512 * 1024**2  # out of a sandbox
    max_bundle_objects: int = 500_000
    max_memory_bytes: int = 2 * 1024**3  # address space while reading what a sandbox made
    lock_timeout_s: float = 900.0  # waiting for another job's fetch of the same repository


@dataclass(frozen=True, slots=True)
class GitOutput:
    """How a command ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False  # stdout passed its limit and the command was stopped


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one command; None: the settings' own or none."""

    timeout_s: float | None = None
    max_output_bytes: int = 16 * 1024**2
    max_file_bytes: int | None = None  # any one file it writes
    max_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file as the input of a command, from `offset` on."""

    path: Path
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Git:
    """The locked-down command. Stateless: share one."""

    settings: GitSettings = field(default_factory=GitSettings)

    async def require_version(self) -> None:
        """Raises: GitMissing if this git is too old to be held to a checked address: it would ignore the setting."""
        if self.settings.executable in _VERSIONS_SEEN:
            return
        told = (await self.check(["version"])).decode(errors="replace").strip()
        version = re.search(r"(\d+)\.(\d+)", told)
        if version is None or (int(version[1]), int(version[2])) < _OLDEST:
            raise GitMissing(f"git 2.37 or newer is needed (http.curloptResolve); this machine has {told!r}.")
        _VERSIONS_SEEN.add(self.settings.executable)

    async def check(
        self,
        arguments: Sequence[str],
        repository: Path | None = None,
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | FilePart | None = None,
        bounds: Bounds | None = None,
    ) -> bytes:
        """The stdout of a local command that has to succeed. Raises: GitFailed, GitTimeout."""
        output = await self.run(arguments, repository, env=env, stdin=stdin, bounds=bounds)
        if output.exit_code != 0:
            raise local_failure(arguments[0], output.stderr)
        if output.truncated:
            raise GitFailed(f"git {arguments[0]} wrote more than is read from it.", command=arguments[0])
        return output.stdout

    async def run(
        self,
        arguments: Sequence[str],
        repository: Path | None = None,
        *,
        config: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        protocols: str = "none",
        stdin: bytes | FilePart | None = None,
        stdout: Path | None = None,
        bounds: Bounds | None = None,
        watch: Callable[[], None] | None = None,
    ) -> GitOutput:
        """Run to the end. `repository` is a bare one of ours; `protocols` is a list with `:` (GIT_ALLOW_PROTOCOL).

        `watch` is called five times a second while it runs and stops it by raising. Raises: GitTimeout, GitMissing.
        """
        bounds = bounds or Bounds()
        command = self._command(arguments, config or {}, bounds)
        async with (
            _process(command, self._environment(repository, env, protocols), repository, stdin, stdout) as process,
            _time_limit(bounds.timeout_s or self.settings.command_timeout_s, arguments[0]),
            _watched(watch),
        ):
            return await _finish(process, stdin, bounds.max_output_bytes)

    async def stream(
        self,
        arguments: Sequence[str],
        repository: Path,
        *,
        stdin: bytes | None = None,
        bounds: Bounds | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The stdout of a local command, in pieces. Raises: GitFailed after the last one if the command failed."""
        bounds = bounds or Bounds()
        command = self._command(arguments, {}, bounds)
        limit_s = bounds.timeout_s or self.settings.command_timeout_s
        deadline = asyncio.get_running_loop().time() + limit_s
        async with _process(command, self._environment(repository, None, "none"), repository, stdin, None) as process:
            assert process.stdout is not None
            errors = asyncio.create_task(_collect(process.stderr, _STDERR_BYTES))
            feeding = asyncio.create_task(_feed(process, stdin))
            try:
                while piece := await _read(process.stdout, deadline, arguments[0], limit_s):
                    yield piece
                if await process.wait() != 0:
                    raise local_failure(arguments[0], (await errors)[0])
            finally:
                errors.cancel()
                feeding.cancel()

    def _command(self, arguments: Sequence[str], config: Mapping[str, str], bounds: Bounds) -> list[str]:
        merged = _CONFIG | dict(config)
        if self.settings.ca_file is not None:
            merged["http.sslCAInfo"] = str(self.settings.ca_file)
        command = [self.settings.executable, "--no-replace-objects", "--no-optional-locks"]
        for name, value in merged.items():
            command += ["-c", f"{name}={value}"]
        return [*_limits(bounds), *command, *arguments]

    def _environment(self, repository: Path | None, env: Mapping[str, str] | None, protocols: str) -> dict[str, str]:
        own = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "XDG_CONFIG_HOME": "/nonexistent",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_SSH_COMMAND": "/bin/false",
            "GIT_EDITOR": "/bin/false",
            "GIT_ALLOW_PROTOCOL": protocols,
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_CEILING_DIRECTORIES": "/",
        }
        if repository is not None:
            own["GIT_DIR"] = str(repository)
        return own | dict(env or {})


def _limits(bounds: Bounds) -> list[str]:
    """A prefix that sets kernel limits, then becomes the command. The script is constant: only numbers go in."""
    script = ""
    if bounds.max_file_bytes is not None:
        script += f"ulimit -f {-(-bounds.max_file_bytes // 512)}; "  # blocks of 512 bytes (POSIX)
    if bounds.max_memory_bytes is not None:
        script += f"ulimit -v {bounds.max_memory_bytes // 1024}; "  # KiB
    return ["/bin/sh", "-c", script + 'exec "$@"', "sh"] if script else []


@contextlib.asynccontextmanager
async def _process(
    command: list[str],
    environment: dict[str, str],
    repository: Path | None,
    stdin: bytes | FilePart | None,
    stdout: Path | None,
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The started command; its whole process group is gone when the block ends."""
    with contextlib.ExitStack() as files:
        source = files.enter_context(stdin.path.open("rb", buffering=0)) if isinstance(stdin, FilePart) else None
        if source is not None and isinstance(stdin, FilePart):
            source.seek(stdin.offset)
        target = files.enter_context(stdout.open("wb")) if stdout is not None else None
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=repository or "/",
                env=environment,
                stdin=source or (asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE),
                stdout=target or asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise GitMissing("There is no `git` to run on this machine. Install git 2.37 or newer.") from error
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())


@contextlib.asynccontextmanager
async def _time_limit(timeout_s: float, name: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise GitTimeout(f"git {name} was stopped after {timeout_s:g} s.", command=name, limit_s=timeout_s) from error


async def _read(reader: asyncio.StreamReader, deadline: float, name: str, limit_s: float) -> bytes:
    try:
        async with asyncio.timeout_at(deadline):  # never around a `yield`: it would cancel whoever reads the stream
            return await reader.read(_CHUNK_BYTES)
    except TimeoutError as error:
        raise GitTimeout(f"git {name} was stopped after {limit_s:g} s.", command=name, limit_s=limit_s) from error


@contextlib.asynccontextmanager
async def _watched(watch: Callable[[], None] | None) -> AsyncGenerator[None]:
    """Call `watch` now and then while the block runs; what it raises ends the block and comes out alone."""
    if watch is None:
        yield
        return
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_repeat(watch))
            yield
            watching.cancel()
    except* GitFailed as errors:
        raise errors.exceptions[0] from None


async def _repeat(watch: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(watch)
        await asyncio.sleep(_WATCH_S)


async def _finish(process: asyncio.subprocess.Process, stdin: bytes | FilePart | None, limit: int) -> GitOutput:
    errors = asyncio.create_task(_collect(process.stderr, _STDERR_BYTES))
    feeding = asyncio.create_task(_feed(process, stdin if isinstance(stdin, bytes) else None))
    try:
        stdout, truncated = await _collect(process.stdout, limit, stop=True)
        if truncated:
            return GitOutput(0, stdout, b"", truncated=True)
        stderr, _ = await errors
        await feeding
        return GitOutput(await process.wait(), stdout, stderr)
    finally:
        errors.cancel()
        feeding.cancel()


async def _collect(reader: asyncio.StreamReader | None, limit: int, *, stop: bool = False) -> tuple[bytes, bool]:
    """Up to `limit` bytes, and whether there were more; the rest is read away unless `stop`."""
    kept = bytearray()
    truncated = False
    while reader is not None and (piece := await reader.read(_CHUNK_BYTES)):
        room = limit - len(kept)
        kept += piece[:room]
        truncated = truncated or len(piece) > room
        if truncated and stop:
            break
    return bytes(kept), truncated


async def _feed(process: asyncio.subprocess.Process, stdin: bytes | None) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read all of it
        process.stdin.write(stdin or b"")
        await process.stdin.drain()
    process.stdin.close()
