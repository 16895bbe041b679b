"""A real PgBouncer in transaction mode on a free port of loopback, in front of a server that listens on a socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_PATIENCE_S = 10.0


@contextlib.contextmanager
def bouncer_before(owner_url: str) -> Iterator[Callable[[str], str]]:
    """Gives a role's URL through the bouncer. Two server connections for all clients: each serves everybody in turn."""
    parts = urlsplit(owner_url)
    [socket_folder] = parse_qs(parts.query)["host"]
    database = parts.path.strip("/")
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    assert program, "this test needs PgBouncer: apt-get install pgbouncer"
    account = _account(Path(socket_folder))
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="sf-bouncer-") as folder:
        config = _written(Path(folder), socket_folder, database, port)
        for path in (Path(folder), *Path(folder).iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)
        log = (Path(folder) / "log").open("wb")
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        bouncer = subprocess.Popen([program, str(config)], stdout=log, stderr=subprocess.STDOUT, **who)
        try:
            _answers(bouncer, port, Path(folder) / "log")
            yield lambda role: f"postgresql://{role}@127.0.0.1:{port}/{database}"
        finally:
            bouncer.terminate()
            bouncer.wait(10)
            log.close()


def _written(folder: Path, socket_folder: str, database: str, port: int) -> Path:
    users = folder / "users.txt"
    users.write_text('"shopfloor_app" ""\n"shopfloor_system" ""\n', encoding="ascii")
    config = folder / "pgbouncer.ini"
    lines = [
        "[databases]", f"{database} = host={socket_folder} dbname={database}", "[pgbouncer]",
        "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =", "auth_type = trust",
        f"auth_file = {users}", "pool_mode = transaction", "default_pool_size = 2", "max_client_conn = 100",
    ]  # fmt: skip
    config.write_text("\n".join(lines) + "\n", encoding="ascii")
    return config


def _account(socket_folder: Path) -> pwd.struct_passwd:
    """Who may reach the server's socket: PgBouncer refuses to run as root, as PostgreSQL does."""
    return pwd.getpwuid(socket_folder.stat().st_uid)


def _answers(bouncer: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and bouncer.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"PgBouncer does not answer: {log.read_text(encoding='utf-8', errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
