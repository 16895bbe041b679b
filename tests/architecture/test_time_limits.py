"""Every await on something outside has a limit, and the page that lists the limits says what the code does."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from architecture.outside_awaits import outside_awaits
from shopfloor.apps.settings import Settings

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "shopfloor"
PAGE = ROOT / "docs" / "reference" / "time-limits.md"

DISK = "local disk"  # see the end of the page
CLIENT_LIMIT = "the HTTP client was made with a time limit"
CALLER = "whoever calls it holds the limit: "
# `file function call` -> where its limit is, for those without one right around them.
ELSEWHERE = {
    "apps/cli/client.py Client._copied response.aread": CLIENT_LIMIT,
    "apps/cli/client.py Client._sent self._http.request": CLIENT_LIMIT,
    "apps/cli/client.py Client._stream response.aread": CLIENT_LIMIT,
    "apps/doctor.py _database asyncio.to_thread": "connect_timeout of the connection (_CONNECT_S)",
    "apps/doctor.py _git asyncio.create_subprocess_exec": "starting a process doesn't wait for it",
    "apps/wiring.py _database asyncio.to_thread": "embedded.py::_START_TIMEOUT_S; migrations take what they take",
    "domain/accounts/oidc_client.py IdentityClient._json http.request": CLIENT_LIMIT,
    "domain/accounts/oidc_domains.py dns_texts.lookup resolver.resolve": "the resolver's lifetime is _LOOKUP_S",
    "domain/accounts/passwords.py Passwords.hash asyncio.to_thread": "computing, not waiting",
    "domain/accounts/passwords.py Passwords.verify asyncio.to_thread": "computing, not waiting",
    "domain/notifications/webhook.py post http.post": CLIENT_LIMIT,
    "engine/git/bundles.py _OwnGit.run asyncio.create_subprocess_exec": "starting a process doesn't wait for it",
    "engine/git/command.py Git.stream process.wait": "its output has ended, within the deadline",
    "engine/git/command.py _process asyncio.create_subprocess_exec": "starting a process doesn't wait for it",
    "engine/git/command.py _finish process.wait": CALLER + "_time_limit",
    "engine/git/command.py _collect reader.read": CALLER + "_time_limit, or the deadline of `stream`",
    "engine/git/command.py _feed process.stdin.drain": CALLER + "_time_limit, or the deadline of `stream`",
    "engine/providers/catalogue.py preload asyncio.to_thread": "importing modules",
    "engine/providers/chain.py ChainModel.aclose connection.close": "closing sockets doesn't wait for the other side",
    "engine/providers/http_client.py legacy_client.Bridge.handle_async_request self._carrier.handle_async_request":
        CLIENT_LIMIT,
    "engine/providers/http_client.py legacy_client.Bridge.handle_async_request request.aread": "the body is in memory",
    "engine/providers/http_client.py overheard.Overheard.handle_async_request self._carrier.handle_async_request":
        CLIENT_LIMIT,
    "engine/providers/model_list.py _page client.get": CLIENT_LIMIT,
    "engine/providers/probe.py probe connection.close": "closing sockets doesn't wait for the other side",
    "engine/sandbox/attach.py Streams.read self._reader.readexactly": CALLER + "the command's deadline, or the beat",
    "engine/sandbox/attach.py Streams.drain self._writer.drain": CALLER + "the command's deadline, or the beat",
    "engine/sandbox/attach.py _connect asyncio.open_unix_connection": CALLER + "_hijack",
    "engine/sandbox/attach.py _connect asyncio.open_connection": CALLER + "_hijack",
    "engine/sandbox/channel.py Channel._listen self._wire.read": "the beat: silence kills the sandbox (_silence_s)",
    "engine/sandbox/docker.py DockerSandboxes.aclose self.pool.aclose": "each engine call in it has api_timeout_s",
    "engine/sandbox/egress_http.py read_head client.reader.read": CALLER + "egress_proxy.py::_head",
    "engine/sandbox/egress_http.py exchange client.send": "meter.watch(): idle_s, connection_s",
    "engine/sandbox/egress_http.py _upload client.reader.read": "meter.watch(): idle_s, connection_s",
    "engine/sandbox/egress_proxy.py EgressProxy._serve client.aclose": "Line.aclose: _FLUSH_S",
    "engine/sandbox/egress_proxy.py _tunnel client.send": "smaller than the socket's buffer: doesn't wait",
    "engine/sandbox/egress_proxy.py _say client.send": "smaller than the socket's buffer: doesn't wait",
    "engine/sandbox/egress_relay.py Line.dialled asyncio.open_connection": CALLER + "egress_proxy.py::_dial, connect_s",
    "engine/sandbox/egress_relay.py Line.send self.writer.drain": "meter.watch(): idle_s, connection_s",
    "engine/sandbox/egress_relay.py pump source.reader.read": "meter.watch(): idle_s, connection_s",
    "engine/sandbox/engine.py Engine.aclose client.close": "closing sockets doesn't wait for the other side",
    "engine/sandbox/engine_exec.py _feed streams.drain": CALLER + "the command's deadline",
    "engine/sandbox/engine_exec.py _collect streams.read": CALLER + "the command's deadline",
    "engine/sandbox/image.py _debootstrap asyncio.create_subprocess_exec": "starting a process doesn't wait for it",
    "engine/sandbox/image.py _debootstrap process.wait": "it has been killed",
    "engine/sandbox/quota.py _run asyncio.create_subprocess_exec": "starting a process doesn't wait for it",
    "engine/sandbox/quota.py _run process.wait": "it has been killed",
    "infra/database.py Database.aclose self.app.close": "psycopg's pool closes within 5 s",
    "infra/database.py Database.aclose self.system.close": "psycopg's pool closes within 5 s",
    "infra/outbound.py _BoundedBody.aclose self._stream.aclose": "closing sockets doesn't wait for the other side",
    "infra/redis_client.py close_storage client.aclose": "closing sockets doesn't wait for the other side",
    "infra/secret_stores/aws.py SecretsManagerSource.add self.read": "calls in threads.py have call_timeout_s",
    "infra/secret_stores/ring.py RingKeys.load self._source.read": "each source holds call_timeout_s",
    "infra/tx.py _pooled pool.connection": "the pool's own: acquire_timeout_s",
    "infra/web/body_limits.py _replayed.replayed receive": "the client's connection; the server ends idle ones",
    "infra/web/streams.py _hung_up receive": "on purpose: for as long as the stream is open",
    "infra/web/streams.py _websocket_gone websocket.receive": "on purpose: for as long as the stream is open",
    "infra/web/streams.py websocket_events websocket.close": "uvicorn drops what doesn't take the closing frame",
}  # fmt: skip
# Whole files whose awaits of this call are bounded in one way.
IN_FILE = {
    "infra/tx.py": (r"(connection\.execute|fetchone|fetchall)$", "database.py::_Bounded.wait"),
    "infra/secrets/rotation.py": (r"(connection\.execute|fetchall)$", "database.py::_Bounded.wait"),
    "infra/queue.py": (
        r"(connection\.execute|fetchall|system\.connection)$",
        "database.py::_Bounded.wait",
    ),
    "infra/task_failures.py": (
        r"(connection\.execute|system\.connection)$",
        "database.py::_Bounded.wait",
    ),
    "infra/secret_stores/local.py": (r"(to_thread|self\.read)$", DISK),
}
_ON_DISK = (
    "apps/cli/kept_login.py", "apps/housekeeping.py", "domain/audit/sequence.py", "domain/jobs/late_diff.py",
    "domain/jobs/tree.py", "engine/git/bundles.py", "engine/git/cache.py", "engine/git/command.py",
    "engine/sandbox/egress.py", "engine/sandbox/image.py", "engine/sandbox/launch.py", "engine/sandbox/quota.py",
    "infra/blobs.py",
)  # fmt: skip
IN_FILE |= dict.fromkeys(_ON_DISK, (r"to_thread$", DISK))


def unlimited() -> dict[str, int]:
    """`file function call` -> line, of every await on something outside that has no limit around it."""
    return {
        f"{path.relative_to(SRC)} {found.function} {found.call}": found.line
        for path in sorted(SRC.rglob("*.py"))
        if path.relative_to(SRC).parts[0] != "testing"
        for found in outside_awaits(path.read_text())
        if not found.limited
    }


def _in_file(key: str) -> bool:
    file, _, call = key.partition(" ")
    return file in IN_FILE and re.search(IN_FILE[file][0], call) is not None


def test_every_await_on_something_outside_has_a_limit():
    without = {key: line for key, line in unlimited().items() if key not in ELSEWHERE and not _in_file(key)}
    assert without == {}, "put `asyncio.timeout` around it, or say in ELSEWHERE where its limit is"


def test_no_excuse_outlives_its_await():
    found = unlimited()
    assert sorted(set(ELSEWHERE) - set(found)) == []
    assert [file for file in IN_FILE if not any(key.startswith(f"{file} ") and _in_file(key) for key in found)] == []


@pytest.mark.parametrize(
    "source",
    [
        "async def f(client): await client.get('http://x')",
        "async def f(reader): await reader.readexactly(4)",
        "async def f(): await asyncio.open_connection('x', 1)",
        "async def f(process):\n  async with asyncio.timeout(1): pass\n  await process.communicate()",
        "async def f(pool):\n  async with pool.connection() as c: await c.commit()",
        "async def f(connection):\n  async with asyncio.timeout(1):\n    async def g(): await connection.execute('x')",
        "class A:\n  async def f(self): await self._redis.get('x')",
        "async def f(): await asyncio.to_thread(print)",
        "async def f(client):\n  async with client.stream('GET', 'x') as a: pass",
    ],
)
def test_the_walk_finds_a_planted_one(source: str):
    """The positive control of the test above."""
    assert [found.limited for found in outside_awaits(source)] == [False]


@pytest.mark.parametrize(
    "source",
    [
        "async def f(client):\n  async with asyncio.timeout(1): await client.get('http://x')",
        "async def f(client):\n  async with asyncio.timeout(1), client.stream('GET', 'x') as a: pass",
        "async def f(client): await client.get('http://x', timeout=3)",
        "async def f(pool):\n  async with asyncio.timeout_at(1):\n    async with pool.connection() as c: pass",
    ],
)
def test_the_walk_sees_a_limit(source: str):
    assert [found.limited for found in outside_awaits(source)] == [True]


def rows() -> list[tuple[str, str, str]]:
    """What, how long, set by: of the page's table."""
    lines = [line.strip().strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [(what, most, place.strip("`")) for what, most, _, place in cells[1:] if place]


@pytest.mark.parametrize(("what", "most", "place"), rows(), ids=lambda value: value[:60])
def test_the_page_says_what_the_code_does(what: str, most: str, place: str):
    number, unit = re.match(r"([\d.]+) (s|h)\b", most).groups()  # type: ignore[union-attr]
    assert float(number) * {"s": 1, "h": 3_600}[unit] == _value(place), what


def test_the_page_has_every_limit_that_can_be_set():
    named = {place for _, _, place in rows()}
    assert len(named) > 45
    for setting in ("PROVIDERS__CALL_TIMEOUT_S", "JOBS__CHECK_TIMEOUT_S", "DATABASE__STATEMENT_TIMEOUT_S"):
        assert f"SHOPFLOOR_{setting}" in named


def _value(place: str) -> float:
    if place.startswith("SHOPFLOOR_"):
        found: object = Settings(home=Path("/"), **_sandbox())
        for name in place.removeprefix("SHOPFLOOR_").lower().split("__"):
            found = getattr(found, name)
    else:
        file, _, path = place.partition("::")
        found = importlib.import_module("shopfloor." + file.removesuffix(".py").replace("/", "."))
        for name in path.split("."):
            found = _part(found, name)
    assert isinstance(found, int | float), place
    return float(found)


def _part(owner: object, name: str) -> object:
    if inspect.isfunction(owner):
        return inspect.signature(owner).parameters[name].default
    if isinstance(owner, type):
        if hasattr(owner, "model_fields") and name in owner.model_fields:
            return owner.model_fields[name].default
        if hasattr(owner, "__dataclass_fields__") and name in owner.__dataclass_fields__:
            return owner.__dataclass_fields__[name].default
    return getattr(owner, name)


def _sandbox() -> dict[str, object]:
    return {"sandbox": {"state_dir": "/tmp/none"}}
