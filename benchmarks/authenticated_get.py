"""CPU of an authenticated `GET /api/v1/jobs/{id}`: the whole API against a bare ASGI app that does the same read.

Ours is `shopfloor api` as it ships: key check, permission, rate limits, the read under row-level security, JSON, ETag,
security headers, metrics, one log line. The peer is the least a program can do: the same uvicorn settings, the same
columns of the same row by psycopg, JSON by orjson; no key, no tenant, no headers. Both are processes of their own on
one PostgreSQL; one keep-alive client asks them in turn. What counts is the server's user and system time from /proc.

    python benchmarks/authenticated_get.py [--requests 1000] [--rounds 9]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import psycopg

from jobs_database import fill
from machine import report
from shopfloor.domain.jobs.store import _JOB
from shopfloor.infra import schema
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.web.server import server_config

LIMIT = 2.0  # the figure to reach: ours at most so many times the peer
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_START_S = 60.0
_WARM = 300
_UNLIMITED = ("KEY", "USER", "ORGANIZATION", "GLOBAL")


def main() -> None:
    options = _arguments()
    if options.bare:
        _serve_bare(options.bare)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sf-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        url = postgres.start()
        stack.callback(postgres.stop)
        schema.migrate(url)
        ours, bare = _started(stack, folder, url)
        for side in (ours, bare):
            side.ask(_WARM)
        pairs = [(ours.ask(options.requests), bare.ask(options.requests)) for _ in range(options.rounds)]
    ratios = [one / other for one, other in pairs]
    ratio = round(statistics.median(ratios), 2)
    report(
        "authenticated_get",
        {
            "requests": options.requests,
            "rounds": options.rounds,
            "shopfloor_cpu_us": round(statistics.median(one for one, _ in pairs)),
            "bare_asgi_cpu_us": round(statistics.median(other for _, other in pairs)),
            "ratio": ratio,
            "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2),
            "reach": f"<= {LIMIT}",
            "reached": ratio <= LIMIT,
        },
    )


class _Side:
    """One server and the connection that asks it."""

    def __init__(self, pid: int, port: int, request: bytes) -> None:
        self._pid = pid
        self._request = request
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, times: int) -> float:
        """CPU microseconds a request."""
        before = self._cpu_s()
        for _ in range(times):
            self._connection.sendall(self._request)
            self._read_answer()
        return (self._cpu_s() - before) / times * 1e6

    def _read_answer(self) -> None:
        head, _, body = self._received(b"").partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"it answered {head[:200]!r} {body[:500]!r}")
        size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < size:
            body = self._received(body)

    def _received(self, before: bytes) -> bytes:
        found = self._connection.recv(65_536)
        if not found:
            sys.exit("the server closed the connection")
        return before + found

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S  # utime, stime. Source: proc_pid_stat(5)


def _started(stack: ExitStack, folder: Path, url: str) -> tuple[_Side, _Side]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SHOPFLOOR_")}
    settings = {f"SHOPFLOOR_LIMITS__{name}_PER_MINUTE": "10000000" for name in _UNLIMITED}
    environment = {**own, **settings, "SHOPFLOOR_HOME": str(folder / "home"), "SHOPFLOOR_DATABASE__URL": url}
    api, api_port = _process(stack, [sys.executable, "-m", "shopfloor", "api", "--port", "0"], environment, folder)
    key = (folder / "home" / "admin.key").read_text().strip()
    with psycopg.connect(url) as admin:
        fill(url, admin.execute("select id from organizations").fetchall()[0][0], 1_000)
        job_id = admin.execute("select id from jobs where state = 'succeeded' order by id limit 1").fetchall()[0][0]
    bare, bare_port = _process(stack, [sys.executable, __file__, "--bare", url], environment, folder)
    head = f"GET /api/v1/jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    return _Side(api, api_port, head), _Side(bare, bare_port, head)


def _process(stack: ExitStack, command: list[str], environment: dict[str, str], folder: Path) -> tuple[int, int]:
    """A server's process id and port, once it says where it is up."""
    log = folder / f"{len(command)}.log"
    out = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    stack.callback(_stop, process)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := [line for line in log.read_text().splitlines() if "is up at http" in line]:
            return process.pid, int(found[0].rpartition(":")[2])
        time.sleep(0.05)
    sys.exit(f"{command} did not start:\n{log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve_bare(url: str) -> None:
    """The peer, until SIGTERM."""
    import uvicorn
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    options = {"autocommit": True, "row_factory": dict_row}
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, kwargs=options, min_size=1, open=False)

    async def app(scope: dict[str, Any], _receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                f"select {_JOB} from jobs where id = %s", (scope["path"].rpartition("/")[2],)
            )
            row = await cursor.fetchone()
        body = orjson.dumps(row)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def serve() -> None:
        await pool.open(wait=True)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            server = uvicorn.Server(server_config(app, lifespan="off"))  # pyright: ignore[reportArgumentType]
            print(f"The bare app is up at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
            await server.serve(sockets=[listener])
        await pool.close()

    config = server_config(app)  # pyright: ignore[reportArgumentType]
    factory = config.get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000, help="a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--bare", metavar="URL", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
