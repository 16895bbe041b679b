"""The embedded PostgreSQL: started by the first process, stopped by the last, whatever kills them in between."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shopfloor.infra.embedded import EmbeddedDatabaseFailed, EmbeddedPostgres

USER = (
    "import sys, time; from pathlib import Path; from shopfloor.infra.embedded import EmbeddedPostgres; "
    "server = EmbeddedPostgres(Path(sys.argv[1])); print(server.start(), flush=True); "
    "sys.stdin.readline(); server.stop()"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can reach; whatever still runs in it afterwards is stopped."""
    with tempfile.TemporaryDirectory(prefix="sf-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        home = Path(made) / "postgres"
        yield home
        for pid_file in Path(made).rglob("postmaster.pid"):
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)


def _process(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def _one(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        return row[0] if row else None


def _server(folder: Path) -> int | None:
    """The server's process id, if one runs."""
    file = folder / "data" / "postmaster.pid"
    if not file.exists():
        return None
    pid = int(file.read_text().split()[0])
    return pid if Path(f"/proc/{pid}").exists() else None


def test_a_fresh_folder_becomes_a_database_that_keeps_its_rows_over_a_restart(folder: Path):
    server = EmbeddedPostgres(folder)
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table kept as select 'Grüße, 世界' as text")
        assert connection.execute("show server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("show fsync").fetchone() == ("on",)
        assert connection.execute("show listen_addresses").fetchone() == ("",)
    server.stop()
    assert _server(folder) is None
    again = EmbeddedPostgres(folder)
    assert again.start() == url
    assert _one(url, "select text from kept") == "Grüße, 世界"
    again.stop()


def test_nobody_else_may_enter_the_data_folder(folder: Path):
    server = EmbeddedPostgres(folder)
    server.start()
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
    server.stop()


def test_two_processes_share_one_server_and_the_last_one_stops_it(folder: Path):
    first, url = _process(folder)
    second, same = _process(folder)
    assert url == same
    pid = _server(folder)
    assert pid is not None
    _leave(first)
    assert _server(folder) == pid
    assert _one(url, "select 1") == 1
    _leave(second)
    assert _server(folder) is None


def test_processes_that_start_at_once_make_one_database(folder: Path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", USER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    urls = {process.stdout.readline().strip() for process in started if process.stdout is not None}
    assert len(urls) == 1
    assert _one(urls.pop(), "select 1") == 1
    assert [path.name for path in folder.glob("data*")] == ["data"]
    for process in started:
        _leave(process)
    assert _server(folder) is None


def test_after_kill_9_of_every_user_the_next_one_goes_on_with_the_same_server(folder: Path):
    first, url = _process(folder)
    pid = _server(folder)
    first.kill()
    first.wait(timeout=30)
    assert _server(folder) == pid
    second, same = _process(folder)
    assert same == url
    assert _server(folder) == pid
    _leave(second)
    assert _server(folder) is None


def test_after_kill_9_of_the_server_too_the_next_one_recovers_what_was_committed(folder: Path):
    first, url = _process(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table kept as select 1 as n")
    first.kill()
    first.wait(timeout=30)
    pid = _server(folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    _gone(pid)
    second, url = _process(folder)
    assert _one(url, "select n from kept") == 1
    assert _server(folder) != pid
    _leave(second)


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(folder: Path):
    deep = folder.parent / ("d" * 60) / ("e" * 60)
    deep.parent.mkdir()
    deep.parent.chmod(0o755)
    server = EmbeddedPostgres(deep)
    url = server.start()
    sockets = Path((deep / "socket-dir").read_text())
    assert len(str(sockets)) < 60
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert _one(url, "select 1") == 1
    server.stop()
    again = EmbeddedPostgres(deep)
    assert again.start() == url
    again.stop()
    sockets.rmdir()


def test_a_start_that_fails_shows_the_end_of_the_servers_log_and_what_to_do(folder: Path):
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    with (folder / "data" / "postgresql.auto.conf").open("a") as configuration:
        configuration.write("shared_buffers = '99999TB'\n")
    with pytest.raises(EmbeddedDatabaseFailed) as failed:
        EmbeddedPostgres(folder).start()
    assert "shared_buffers" in failed.value.detail
    assert "SHOPFLOOR_DATABASE__URL" in failed.value.detail


def test_an_initdb_that_fails_leaves_no_half_made_folder_and_says_why(folder: Path):
    folder.mkdir()
    binaries = folder / "broken"
    binaries.mkdir(mode=0o755)
    initdb = binaries / "initdb"
    initdb.write_text("#!/bin/sh\necho 'No space left on device'\nexit 1\n")
    initdb.chmod(0o755)
    folder.chmod(0o755)
    with pytest.raises(EmbeddedDatabaseFailed, match="No space left on device") as failed:
        EmbeddedPostgres(folder)._create(binaries)
    assert "disk is not full" in failed.value.detail
    assert [path.name for path in folder.iterdir()] == ["broken"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_root_is_told_which_folder_the_servers_user_cannot_pass():
    with tempfile.TemporaryDirectory(prefix="sf-") as closed:  # mode 0700
        home = Path(closed) / "a" / "b" / "postgres"
        home.parent.mkdir(parents=True)
        with pytest.raises(EmbeddedDatabaseFailed, match=closed):
            EmbeddedPostgres(home).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_where_the_servers_user_cannot_reach_the_wheel_the_server_runs_from_a_copy(folder: Path):
    server = EmbeddedPostgres(folder, passable=lambda _: False)
    url = server.start()
    pid = _server(folder)
    assert Path(f"/proc/{pid}/exe").resolve().is_relative_to(folder)
    assert _one(url, "select 1") == 1
    server.stop()
    assert _server(folder) is None
    [copy] = folder.glob("wheel-*")
    made = copy.stat().st_mtime_ns
    again = EmbeddedPostgres(folder, passable=lambda _: False)
    assert again.start() == url
    again.stop()
    assert [path.stat().st_mtime_ns for path in folder.glob("wheel-*")] == [made]  # copied once


def test_stopping_what_was_never_started_does_nothing(folder: Path):
    EmbeddedPostgres(folder).stop()
    assert not folder.exists()


def _gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
