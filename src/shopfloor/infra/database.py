"""The two doors to PostgreSQL: one pool for an organization's own rows, one for the system's work across all."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import select
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict

from shopfloor.base.errors import SettingsError, Unavailable

APP_ROLE = "shopfloor_app"
SYSTEM_ROLE = "shopfloor_system"
# A server that is gone without a word is noticed after about ten seconds. Source: libpq, connection parameters
KEEPALIVE: Final[dict[str, Any]] = {
    "keepalives_idle": 5,  # seconds, as the interval
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}

_ANSWER_SPARE_S = 5.0  # what a server that keeps `statement_timeout` may need to say so

Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer; what was asked can be asked again."""

    title = "The database does not answer"


class DatabaseBusy(DatabaseUnavailable):
    """A statement or a lock took longer than its limit; nothing of it was done, and it can be asked again."""

    title = "The database is too busy"


class DatabaseSettings(BaseModel):
    """Which PostgreSQL (15 or newer), and how many connections to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None  # the owner's: migrations use it. None: the embedded one
    app_url: str | None = None  # what the application connects as; None: derived from `url`
    system_url: str | None = None  # what admission, rescue and sign-in connect as; None: derived from `url`
    pool_size: int = 10  # connections of the application's pool, at most
    system_pool_size: int = 4
    acquire_timeout_s: float = 10.0  # how long a request waits for a connection before it is refused
    connect_timeout_s: int = 5
    statement_timeout_s: float = 30.0
    pgbouncer: bool = False  # transaction pooling in between: no prepared statements
    listen_url: str | None = None  # a direct connection for LISTEN when `pgbouncer` stands in between


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """The connection URLs of the three roles. Never logged: they may hold passwords."""

    owner: str | None
    app: str
    system: str
    listen: str

    def __repr__(self) -> str:
        return "DatabaseUrls(...)"


def urls_of(settings: DatabaseSettings, embedded_url: str | None = None) -> DatabaseUrls:
    """The three roles' URLs. Raises: SettingsError when neither a URL nor both roles' URLs are set."""
    owner = settings.url or embedded_url
    if owner is None and not (settings.app_url and settings.system_url):
        raise SettingsError("Set SHOPFLOOR_DATABASE__URL, or both SHOPFLOOR_DATABASE__APP_URL and ..._SYSTEM_URL.")
    app = settings.app_url or role_url(owner or "", APP_ROLE)
    system = settings.system_url or role_url(owner or "", SYSTEM_ROLE)
    return DatabaseUrls(owner, app, system, settings.listen_url or system)


def role_url(owner_url: str, role: str) -> str:
    """The owner's URL with another role, and the password that `migrate` gave it."""
    parts = urlsplit(owner_url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise SettingsError("A database URL starts with postgresql://, e.g. postgresql://owner:...@host:5432/shopfloor")
    password = role_password(owner_url, role)
    place = parts.netloc.rpartition("@")[2]
    account = role if password is None else f"{role}:{quote(password)}"
    return urlunsplit(parts._replace(netloc=f"{account}@{place}"))


def role_password(owner_url: str, role: str) -> str | None:
    """A role's password, derived from the owner's; None where the server trusts (the embedded socket)."""
    secret = urlsplit(owner_url).password
    if not secret:
        return None
    return hmac.new(unquote(secret).encode(), f"shopfloor role {role}".encode(), hashlib.sha256).hexdigest()


class Database:
    """Open pools. `app` is bound by row-level security to one organization; `system` sees all and is used by few."""

    def __init__(self, urls: DatabaseUrls, settings: DatabaseSettings) -> None:
        self.urls = urls
        self.settings = settings
        self.app = _pool(urls.app, settings, settings.pool_size, "app")
        self.system = _pool(urls.system, settings, settings.system_pool_size, "system")

    async def open(self) -> None:
        """Open both pools. Raises: DatabaseUnavailable when nothing answers within the connect time-out."""
        try:
            await self.app.open(wait=True, timeout=self.settings.connect_timeout_s + 5.0)
            await self.system.open(wait=True, timeout=self.settings.connect_timeout_s + 5.0)
        except psycopg.OperationalError as error:
            await self.aclose()
            raise DatabaseUnavailable(
                f"PostgreSQL does not take a connection: {_first_line(error)}. Start it, or check "
                "SHOPFLOOR_DATABASE__URL; after a first install run `shopfloor migrate`."
            ) from error

    async def aclose(self) -> None:
        """Close both pools."""
        await self.app.close()
        await self.system.close()

    def sizes(self) -> dict[str, dict[str, int]]:
        """What the pools count: size, idle, waiting, by pool name."""
        return {name: pool.get_stats() for name, pool in (("app", self.app), ("system", self.system))}


class _Bounded(psycopg.AsyncConnection[DictRow]):
    """A connection whose server has to answer: one that is stopped, or whose host froze, ends nothing by itself.

    `statement_timeout` is kept by the server itself; this is for the one that no longer keeps it.
    """

    answer_s: float | None = None  # of each answer; None (LISTEN waits for as long as it takes): no limit

    async def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """See psycopg. Raises: OperationalError when no answer comes in time; the connection is closed then."""
        if self.answer_s is None:
            return await super().wait(gen, *arguments, **named)
        try:
            async with asyncio.timeout(self.answer_s):
                return await super().wait(gen, *arguments, **named)
        except TimeoutError as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server gave no answer within {self.answer_s:g} s") from error


def _pool(url: str, settings: DatabaseSettings, size: int, name: str) -> Pool:
    options: dict[str, Any] = {
        "row_factory": dict_row,
        "connect_timeout": settings.connect_timeout_s,
        "application_name": f"shopfloor-{name}",
        "prepare_threshold": None if settings.pgbouncer else 3,
        **KEEPALIVE,
    }
    if not settings.pgbouncer:
        options["options"] = f"-c statement_timeout={int(settings.statement_timeout_s * 1000)} -c timezone=UTC"
    return AsyncConnectionPool(
        url,
        connection_class=cast("type[Connection]", _Bounded),
        kwargs=options,
        min_size=1,
        max_size=size,
        open=False,
        name=name,
        timeout=settings.acquire_timeout_s,
        max_waiting=1_000,
        reconnect_timeout=5.0,
        configure=partial(_configure, answer_s=settings.statement_timeout_s + _ANSWER_SPARE_S),
        check=_check,
    )


async def _configure(connection: Connection, *, answer_s: float) -> None:
    # Transactions are opened explicitly, by infra/tx.py alone. Not among the connection's arguments: Procrastinate
    # connects with those of the pool and an `autocommit` of its own.
    await connection.set_autocommit(True)
    cast("_Bounded", connection).answer_s = answer_s


async def _check(connection: Connection) -> None:
    """A connection that broke while it lay in the pool is replaced before anybody gets it.

    The server says nothing to an idle connection: one that has something to read was closed, or is told why it will be.
    Only that one is asked; a question at every checkout would cost as much as the query.
    """
    if select.select([connection.fileno()], [], [], 0)[0]:
        await AsyncConnectionPool.check_connection(cast("psycopg.AsyncConnection[Any]", connection))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
