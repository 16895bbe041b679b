"""The unit of work: `begin` is the only commit in the code, used alike by API, worker and CLI."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, Protocol, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg.rows import DictRow, tuple_row
from psycopg_pool import PoolTimeout, TooManyRequests

from shopfloor.base.clock import Clock, SystemClock
from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.infra.bus import Subscriptions
from shopfloor.infra.database import Connection, Database, DatabaseBusy, DatabaseUnavailable, Pool
from shopfloor.infra.origin import origin, plain_address
from shopfloor.infra.queue import Queue
from shopfloor.infra.record import Entry, RecordUnavailable

T = TypeVar("T")
Parameters = Sequence[Any] | dict[str, Any]

log = structlog.get_logger(__name__)

_SYSTEM_PRINCIPAL = Principal("system", NIL, NIL, frozenset({"*"}), name="system")
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# The policies of row-level security read these: whose rows, and what of them this person may touch from this address.
_BIND: LiteralString = (
    "select set_config('app.organization_id', %s, true), set_config('app.user_id', %s, true), "
    "set_config('app.address', %s, true)"
)
_READ_ONLY: LiteralString = f"{_BIND}, set_config('transaction_read_only', 'on', true)"


class Tx:
    """One transaction of one principal: what every verb takes as its first argument.

    Never held across a model call, a sandbox command or any network wait: prepare in one, act, record in another.
    """

    def __init__(self, connection: Connection, principal: Principal, services: Services) -> None:
        self.connection = connection
        self.principal = principal
        self.clock = services.clock
        self._services = services
        self._last: dict[Write, list[Any]] = {}
        self._after: list[Callable[[], None]] = []

    @property
    def organization_id(self) -> UUID:
        """Whose rows this transaction sees."""
        return self.principal.organization_id

    def require(self, permission: str, project_id: UUID | None = None) -> None:
        """Raises: PermissionDenied that names the missing permission."""
        self.principal.require(permission, project_id)

    async def execute(self, query: LiteralString, parameters: Parameters = ()) -> int:
        """Run a statement; how many rows it touched."""
        cursor = await self.connection.execute(query, parameters)
        return cursor.rowcount

    async def one(self, query: LiteralString, parameters: Parameters = ()) -> DictRow | None:
        """The first row, or None."""
        cursor = await self.connection.execute(query, parameters)
        return await cursor.fetchone()

    async def values(self, query: LiteralString, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """The first row without names, or None: cheaper where a row has many columns."""
        cursor = self.connection.cursor(row_factory=tuple_row)
        await cursor.execute(query, parameters)
        return await cursor.fetchone()

    async def all(self, query: LiteralString, parameters: Parameters = ()) -> list[DictRow]:
        """Every row. The query bounds how many those can be."""
        cursor = await self.connection.execute(query, parameters)
        return await cursor.fetchall()

    def projects_where(self, permission: str) -> list[UUID] | None:
        """For queries: the projects in which the principal may do `permission`; None: in every one."""
        places = self.principal.projects_where(permission)
        return None if places is None else sorted(places)

    async def record(
        self,
        action: str,
        target_kind: str,
        target_id: UUID | str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        project_id: UUID | None = None,
        result: str = "done",
        organization_id: UUID | None = None,
    ) -> None:
        """Put on record what this transaction does: it commits with the change, or the change doesn't happen.

        `before` and `after` hold the fields that changed, never a secret. The system names the organization, whose
        principal has none. Raises: RecordUnavailable.
        """
        entry = Entry(action, target_kind, str(target_id), before, after, project_id, result, organization_id)
        await self._services.recorder(self, entry)

    async def record_read(
        self,
        action: str,
        target_kind: str,
        target_id: UUID | str,
        *,
        after: Mapping[str, Any] | None = None,
        project_id: UUID | None = None,
    ) -> None:
        """Put a sensitive read on record. Reads go on where that can't be done; the log says so then."""
        await self.write_collected()  # what is of changes must not be lost with it
        try:
            async with self.connection.transaction():
                await self.record(action, target_kind, target_id, after=after, project_id=project_id)
                await self.write_collected()
        except RecordUnavailable as error:
            log.error("record.read-missing", action=action, target_id=str(target_id), why=error.detail)  # noqa: TRY400 - the sentence says it

    async def publish(self, event: object) -> None:
        """Defer the tasks of everybody who subscribed to this kind of event, in this transaction."""
        for task, arguments in self._services.subscriptions.tasks_for(event):
            await self.defer(task, **arguments)

    async def defer(self, task: str, *, queue: str = "default", priority: int = 0, **arguments: Any) -> int:
        """Put a task on the queue, in this transaction; its number there.

        Every task may run twice: the second time changes nothing.
        """
        return await self._services.queue.defer(
            self.connection, task, queue=queue, priority=priority, arguments=arguments
        )

    def before_commit(self, write: Write, row: object) -> None:
        """Collect `row`: `write` gets all its rows, in order, right before the commit; if it raises, nothing happened.

        One statement for what several verbs add, however many they are.
        """
        self._last.setdefault(write, []).append(row)

    async def write_collected(self) -> None:
        """Called by `begin` before the commit. Raises: what a `write` raises."""
        collected, self._last = self._last, {}
        for write, rows in collected.items():
            await write(self, rows)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run a quick, local action once the commit has succeeded (a wake-up; never anything that must not be lost)."""
        self._after.append(action)

    def wake(self, key: str) -> None:
        """Wake who waits for `key`, in every process, once the commit has succeeded: a hint, see infra/notify.py."""
        self.after_commit(lambda: self._services.wake(key))

    def committed(self) -> None:
        """Called by `begin` after the commit."""
        for action in self._after:
            action()


class ReadTx(Tx):
    """A principal's questions, each a read-only transaction of its own that costs one round trip.

    What it may see and the statement travel together: what libpq's pipeline sends before one Sync is one transaction.
    If it weren't, row-level security would show nothing. Two questions may see two states.
    Source: PostgreSQL, 'Pipeline Mode' and 'Message Flow', on implicit transactions.
    """

    async def execute(self, query: LiteralString, parameters: Parameters = ()) -> int:
        """How many rows there were."""
        return (await self._asked(query, parameters)).rowcount

    async def one(self, query: LiteralString, parameters: Parameters = ()) -> DictRow | None:
        """The first row, or None."""
        return await (await self._asked(query, parameters)).fetchone()

    async def values(self, query: LiteralString, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """The first row without names, or None."""
        cursor = self.connection.cursor(row_factory=tuple_row)
        async with self.connection.pipeline():
            await self._bind()
            await cursor.execute(query, parameters)
        return await cursor.fetchone()

    async def all(self, query: LiteralString, parameters: Parameters = ()) -> list[DictRow]:
        """Every row. The query bounds how many those can be."""
        return await (await self._asked(query, parameters)).fetchall()

    async def record(self, action: str, target_kind: str, target_id: UUID | str, **what: Any) -> None:
        """Nothing changes here. Raises: TypeError."""
        del what
        raise TypeError(f"{action} of {target_kind} {target_id} can't be recorded while reading: use begin")

    async def defer(self, task: str, *, queue: str = "default", priority: int = 0, **arguments: Any) -> int:
        """Nothing changes here. Raises: TypeError."""
        del queue, priority, arguments
        raise TypeError(f"{task} can't be deferred while reading: use begin")

    async def _asked(self, query: LiteralString, parameters: Parameters) -> psycopg.AsyncCursor[DictRow]:
        async with self.connection.pipeline():
            await self._bind()
            return await self.connection.execute(query, parameters)

    async def _bind(self) -> None:
        await self.connection.cursor(row_factory=tuple_row).execute(_READ_ONLY, _bound_to(self.principal))


Write = Callable[[Tx, list[Any]], Awaitable[None]]


class Recorder(Protocol):
    """Who keeps the record. If it can't, the change must not happen: whatever it raises undoes the transaction."""

    async def __call__(self, tx: Tx, entry: Entry) -> None:
        """Keep `entry`, with `tx.principal`, where it came from and when."""
        ...


async def unrecorded(tx: Tx, entry: Entry) -> None:
    """For tests and tools that are wired without the audit room."""
    del tx, entry


def _nobody_waits(key: str) -> None:
    del key


class Services:
    """What a transaction reaches besides its connection. One a process."""

    def __init__(
        self,
        queue: Queue | None = None,
        subscriptions: Subscriptions | None = None,
        clock: Clock | None = None,
        recorder: Recorder = unrecorded,
    ) -> None:
        self.queue = queue or Queue()
        self.subscriptions = subscriptions or Subscriptions()
        self.clock = clock or SystemClock()
        self.recorder = recorder
        self.wake: Callable[[str], None] = _nobody_waits  # the notifier's, once it is there


class Store:
    """A database and its services: what `begin` and `perform` work on."""

    def __init__(self, database: Database, services: Services | None = None) -> None:
        self.database = database
        self.services = services or Services()


@asynccontextmanager
async def begin(store: Store, principal: Principal) -> AsyncGenerator[Tx]:
    """One transaction in which only `principal`'s organization is visible; commits at the end, or nothing happened.

    Raises: DatabaseUnavailable when there is no connection in time or it breaks.
    """
    async with _connected(store, system=False, principal=principal) as tx:
        await tx.connection.execute(_BIND, _bound_to(principal))
        yield tx


def _bound_to(principal: Principal) -> tuple[str, str, str]:
    user_id = "" if principal.user_id is None else str(principal.user_id)
    return str(principal.organization_id), user_id, plain_address(origin().address)


@asynccontextmanager
async def reading(store: Store, principal: Principal) -> AsyncGenerator[ReadTx]:
    """For what only reads, and where each question may be its own transaction: a third of the round trips of `begin`.

    Raises: as `begin`.
    """
    async with _pooled(store.database.app) as connection:
        yield ReadTx(connection, principal, store.services)


@asynccontextmanager
async def asking_system(store: Store) -> AsyncGenerator[Tx]:
    """The system's questions without a transaction around them: each statement is its own, one round trip."""
    async with _pooled(store.database.system) as connection:
        tx = Tx(connection, _SYSTEM_PRINCIPAL, store.services)
        yield tx
        await tx.write_collected()


@asynccontextmanager
async def begin_system(store: Store) -> AsyncGenerator[Tx]:
    """One transaction of the system itself, across organizations: admission, rescue, sign-in. Use it sparingly."""
    async with _connected(store, system=True, principal=_SYSTEM_PRINCIPAL) as tx:
        yield tx


async def perform(
    store: Store, principal: Principal | None, work: Callable[[Tx], Awaitable[T]], *, patience_s: float = 60.0
) -> T:
    """Run `work` in one transaction, again and again while the database is away, for up to `patience_s`.

    `work` may run twice (a commit whose answer was lost): it must be idempotent. `principal` None: the system.
    """
    clock = store.services.clock
    deadline = clock.monotonic() + patience_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            async with begin_system(store) if principal is None else begin(store, principal) as tx:
                return await work(tx)
        except DatabaseUnavailable:
            if clock.monotonic() + pause_s > deadline:
                raise
        await clock.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


@asynccontextmanager
async def _connected(store: Store, *, system: bool, principal: Principal) -> AsyncGenerator[Tx]:
    async with _pooled(store.database.system if system else store.database.app) as connection:
        async with connection.transaction():
            tx = Tx(connection, principal, store.services)
            yield tx
            await tx.write_collected()
        tx.committed()


@asynccontextmanager
async def _pooled(pool: Pool) -> AsyncGenerator[Connection]:
    try:
        async with pool.connection() as connection:
            yield connection
    except (PoolTimeout, TooManyRequests) as error:
        raise DatabaseUnavailable(
            "No database connection became free in time. Try again; if it stays so, look at /healthz and raise "
            "SHOPFLOOR_DATABASE__POOL_SIZE.",
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if isinstance(error, (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)):
            raise DatabaseBusy("The database did not finish in time. Try again.") from error
        raise DatabaseUnavailable("The connection to the database broke. Try again.") from error
