"""Real Redis for tests: Debian's redis-server on free ports of loopback, each with a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_START_S = 30.0
_SLOTS = 16_384


@dataclass
class RedisServer:
    """One redis-server. It can be stopped and started again on its port."""

    port: int
    folder: Path
    options: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        command = [
            "redis-server", *([str(self.folder / "given.conf")] if (self.folder / "given.conf").exists() else []),
            "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", "",
            "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0", *self.options,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, f"redis-server did not start: {self.folder / 'log'}")

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.AuthenticationError:
            return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def one_server(*options: str) -> Iterator[RedisServer]:
    _need_redis()
    with tempfile.TemporaryDirectory(prefix="sf-redis-") as folder:
        server = RedisServer(_free_port(), Path(folder), list(options))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@dataclass
class Sentinels:
    """A primary, a replica, and who watches them."""

    url: str
    primary: RedisServer
    replica: RedisServer


@contextmanager
def sentinels() -> Iterator[Sentinels]:
    """One primary, one replica, three sentinels that change places half a second after the primary is gone."""
    with ExitStack() as stack:
        primary = stack.enter_context(one_server())
        replica = stack.enter_context(one_server("--replicaof", f"127.0.0.1 {primary.port}"))
        ports = [stack.enter_context(_sentinel(primary.port)) for _ in range(3)]
        for port in ports:
            watch = redis.Redis(port=port, socket_timeout=5, decode_responses=True)
            until(lambda watch=watch: _sees_all(watch), "the sentinels did not find each other")
        places = ",".join(f"127.0.0.1:{port}" for port in ports)
        yield Sentinels(f"redis+sentinel://{places}/primary", primary, replica)


@contextmanager
def cluster() -> Iterator[str]:
    """Three primaries that share the slots; the URL."""
    with ExitStack() as stack:
        servers = [stack.enter_context(one_server("--cluster-enabled", "yes")) for _ in range(3)]
        share = _SLOTS // len(servers)
        for number, server in enumerate(servers):
            last = _SLOTS - 1 if server is servers[-1] else (number + 1) * share - 1
            server.client().execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
            server.client().execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in servers[1:]:
            server.client().execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        for server in servers:
            until(lambda server=server: _whole(server), "the cluster did not come together")
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


def until(check, complaint: str) -> None:
    """Ask another process until it says yes. Raises: TimeoutError with `complaint`."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            if check():
                return
        except redis.RedisError:
            pass
        time.sleep(0.02)
    raise TimeoutError(complaint)


def _need_redis() -> None:
    if shutil.which("redis-server") is None:
        if os.environ.get("NEED_DOCKER"):
            pytest.fail("there is no redis-server, and this run must not go without: run scripts/services as root")
        pytest.skip("there is no redis-server: run scripts/services as root")


@contextmanager
def _sentinel(primary_port: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="sf-sentinel-") as folder:
        server = RedisServer(_free_port(), Path(folder), ["--sentinel"])
        (server.folder / "given.conf").write_text(
            f"sentinel monitor primary 127.0.0.1 {primary_port} 2\n"
            "sentinel down-after-milliseconds primary 500\n"
            "sentinel failover-timeout primary 3000\n"
        )
        server.start()
        try:
            yield server.port
        finally:
            server.stop()


def _sees_all(watch: redis.Redis) -> bool:
    state = watch.execute_command("SENTINEL", "MASTER", "primary")
    facts = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
    known = (int(facts.get("num-other-sentinels", 0)), int(facts.get("num-slaves", 0)))
    return known == (2, 1)


def _whole(server: RedisServer) -> bool:
    """It sees three primaries that hold every slot."""
    state = server.client().cluster("INFO")
    wanted = {"cluster_state": "ok", "cluster_size": "3", "cluster_slots_ok": str(_SLOTS)}
    return {name: state.get(name) for name in wanted} == wanted


def _free_port() -> int:
    """Below the range of outgoing connections and with room for a cluster's bus, which listens 10,000 above."""
    for _ in range(200):
        port = 11_000 + int.from_bytes(os.urandom(2)) % 20_000
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port
    raise OSError("no free port")
