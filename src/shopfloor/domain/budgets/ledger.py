"""The ledger of one process: it holds money before a call, settles, releases, or books it as unknown.

What is asked at the same time goes into one commit: one writer for each organization takes up to `batch` operations at
once, so that a budget everybody shares is locked once for all of them. Who doesn't fit waits in line, first come first
served for each budget, until what is held comes back, a wake-up tells of other processes, or the wait has an end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field

from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.domain.budgets import batch, ledger_store
from shopfloor.domain.budgets.batch import Books, JobBook, OverBudget, OverJobLimit, Refused
from shopfloor.domain.budgets.pausing import follow, refusal
from shopfloor.domain.budgets.periods import share_books
from shopfloor.domain.budgets.port import Ask, Booked, Closing, JobBooks, JobChange, RunOver
from shopfloor.engine.providers.port import CostLimitReached
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.tx import Store, Tx, perform

log = structlog.get_logger(__name__)

_LAST_WORD_S = 5.0  # for what is still to be booked when the process ends


class LedgerSettings(BaseModel):
    """How money is moved in this process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=256, ge=1, le=4_096)  # operations in one commit, at most
    hold_wait_s: float = Field(default=30.0, gt=0)  # for open holds to come back, before the job is parked
    look_again_s: float = Field(default=1.0, gt=0)  # a wake-up from another process may be lost
    patience_s: float = Field(default=120.0, gt=0)  # with a database that is away


@dataclass(slots=True, eq=False)
class _Op:
    what: Ask | Closing
    answer: asyncio.Future[None]
    gives_up_at: float = 0.0  # a hold's, on the clock's monotonic scale
    refused: OverBudget | None = None  # why it waits


@dataclass(slots=True)
class _Line:
    """One organization's operations, in the order of asking."""

    fresh: deque[_Op] = field(default_factory=deque[_Op])
    waiting: list[_Op] = field(default_factory=list[_Op])
    blocked: set[UUID] = field(default_factory=set[UUID])  # budgets that somebody here waits for
    look: bool = False  # there may be room for who waits
    news: asyncio.Event = field(default_factory=asyncio.Event)
    writer: asyncio.Task[None] | None = None


class Ledger:
    """One a process. Needs no start: a writer lives as long as there is something to write."""

    def __init__(
        self, store: Store, jobs: JobBooks, *, booked: Sequence[Booked] = (), settings: LedgerSettings | None = None
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._booked = tuple(booked)
        self._settings = settings or LedgerSettings()
        self._lines: dict[UUID, _Line] = {}

    @property
    def booked(self) -> tuple[Booked, ...]:
        """Who adds up what is booked."""
        return self._booked

    async def hold(self, ask: Ask) -> None:
        """Set `ask.amount_nanos` aside on every level at once; may wait in line.

        Raises: CostLimitReached for the job's own limit; BudgetExhausted, with what a smaller call could hold, when a
        budget can't pay or nothing came back in time; RunOver; DatabaseUnavailable after a long time.
        """
        op = self._enqueue(ask.charge.organization_id, ask)
        try:
            await op.answer
        except asyncio.CancelledError:
            if op.answer.done() and not op.answer.cancelled() and op.answer.exception() is None:
                self._give_back(ask)  # held in the moment of the cancel: no request will leave
            raise

    async def close(self, organization_id: UUID, closings: Sequence[Closing]) -> None:
        """End holds: settle, release, or book as unknown. It is done also if the caller is cancelled meanwhile.

        Closing twice changes nothing the second time. Raises: DatabaseUnavailable after a long time.
        """
        ops = [self._enqueue(organization_id, closing) for closing in closings]
        for op in ops:
            await asyncio.shield(op.answer)

    def woken(self, key: str) -> None:
        """A wake-up of the notifier: a budget has more room, in this process or another."""
        if key in {"*", "budgets"} or key.startswith("budget:"):
            for line in self._lines.values():
                if line.waiting:
                    line.look = True
                    line.news.set()

    async def check(self, tx: Tx) -> list[str]:
        """What doesn't add up in the organization of `tx`, a sentence each; empty: everything does."""
        from shopfloor.domain.budgets.ledger_check import check_ledger

        return [*await check_ledger(tx), *await self._jobs.check(tx)]

    async def aclose(self) -> None:
        """Book what was asked for already; holds that still wait are refused."""
        writers = [line.writer for line in self._lines.values() if line.writer is not None]
        for line in self._lines.values():
            for op in line.waiting:
                op.gives_up_at = 0.0
            line.news.set()
        if writers:
            _, late = await asyncio.wait(writers, timeout=_LAST_WORD_S)
            for writer in late:
                writer.cancel()

    def _enqueue(self, organization_id: UUID, what: Ask | Closing) -> _Op:
        line = self._lines.setdefault(organization_id, _Line())
        op = _Op(what, asyncio.get_running_loop().create_future())
        op.answer.add_done_callback(_seen)
        op.gives_up_at = self._now() + self._settings.hold_wait_s
        line.fresh.append(op)
        line.news.set()
        if line.writer is None or line.writer.done():
            line.writer = asyncio.create_task(self._write(organization_id, line))
        return op

    def _give_back(self, ask: Ask) -> None:
        reason = "nobody waited for it any more"
        self._enqueue(ask.charge.organization_id, Closing(ask.hold_id, ask.charge.job_id, "released", reason=reason))

    def _now(self) -> float:
        return self._store.services.clock.monotonic()

    async def _write(self, organization_id: UUID, line: _Line) -> None:
        """Commit after commit, until nothing is asked and nobody waits."""
        principal = Principal("worker", NIL, organization_id, frozenset({"*"}), name="ledger")
        try:
            while line.fresh or line.waiting:
                self._expire(line)
                closings, holds = self._next(line)
                if closings or holds:
                    await self._commit(principal, line, closings, holds)
                elif line.waiting:
                    await self._pause(line)
        except BaseException as error:
            for op in (*line.fresh, *line.waiting):
                _fail(op, error)
            line.fresh.clear()
            line.waiting.clear()
            raise

    async def _pause(self, line: _Line) -> None:
        line.news.clear()
        if line.fresh:
            return
        soonest_s = min(op.gives_up_at for op in line.waiting) - self._now()
        try:
            async with asyncio.timeout(max(0.0, min(soonest_s, self._settings.look_again_s))):
                await line.news.wait()
        except TimeoutError:
            line.look = True

    def _expire(self, line: _Line) -> None:
        """Who has waited long enough is answered: the job is parked and remembers what it needs."""
        now, still = self._now(), list[_Op]()
        for op in line.waiting:
            if op.answer.done():
                continue
            if op.gives_up_at <= now and op.refused is not None and isinstance(op.what, Ask):
                _fail(op, refusal(op.what, op.refused))
            else:
                still.append(op)
        line.waiting = still
        if not still:
            line.blocked = set()

    def _next(self, line: _Line) -> tuple[list[_Op], list[_Op]]:
        """Closings and holds of the next commit. Who waits is looked at again when something may have come back."""
        taken = [line.fresh.popleft() for _ in range(min(len(line.fresh), self._settings.batch))]
        closings = [op for op in taken if isinstance(op.what, Closing)]
        asks = [op for op in taken if isinstance(op.what, Ask) and not op.answer.done()]
        if line.waiting and (line.look or closings):
            asks = [*line.waiting, *asks]
            line.waiting, line.blocked, line.look = [], set(), False
        if len(asks) > self._settings.batch:
            line.fresh.extendleft(reversed(asks[self._settings.batch :]))
            asks = asks[: self._settings.batch]
        return closings, asks

    async def _commit(self, principal: Principal, line: _Line, closings: list[_Op], holds: list[_Op]) -> None:
        work = _Commit(self._jobs, self._booked, closings, holds, frozenset(line.blocked))
        try:
            await perform(self._store, principal, work, patience_s=self._settings.patience_s)
        except DatabaseUnavailable as error:
            for op in (*closings, *holds):
                _fail(op, error)
            return
        except Exception as error:
            if len(closings) + len(holds) == 1:
                log.exception("ledger.not_written", organization_id=str(principal.organization_id))
                _fail((closings or holds)[0], error)
                return
            log.warning("ledger.one_by_one", error=repr(error))  # one that can't be booked doesn't stop the others
            for op in closings:
                await self._commit(principal, line, [op], [])
            for op in holds:
                await self._commit(principal, line, [], [op])
            return
        except BaseException as error:
            for op in (*closings, *holds):
                _fail(op, error)
            raise
        self._answer(line, work, closings, holds)

    def _answer(self, line: _Line, work: _Commit, closings: list[_Op], holds: list[_Op]) -> None:
        for op in closings:
            if not op.answer.done():
                op.answer.set_result(None)
        line.blocked |= work.blocked
        for op in holds:
            ask = op.what
            assert isinstance(ask, Ask)
            refused = work.refused.get(ask.hold_id)
            if ask.hold_id in work.over:
                _fail(op, RunOver(f"The run {ask.charge.run_id} is over."))
            elif refused is None and op.answer.done():
                self._give_back(ask)
            elif refused is None:
                op.answer.set_result(None)
            elif isinstance(refused, OverJobLimit):
                _fail(op, _over_limit(ask, refused))
            elif refused.for_good:
                _fail(op, refusal(ask, refused))
            elif not op.answer.done():
                op.refused = refused
                line.waiting.append(op)


class _Commit:
    """One batch as `perform` runs it, perhaps more than once: each time from the rows as they are then."""

    def __init__(
        self, jobs: JobBooks, booked: Sequence[Booked], closings: list[_Op], holds: list[_Op], blocked: frozenset[UUID]
    ) -> None:
        self._jobs = jobs
        self._booked = booked
        self._closings = [op.what for op in closings if isinstance(op.what, Closing)]
        self._asks = [op.what for op in holds if isinstance(op.what, Ask)]
        self._blocked = blocked
        self._tried = False
        self.refused: dict[UUID, Refused] = {}
        self.over: set[UUID] = set()
        self.blocked: set[UUID] = set()

    async def __call__(self, tx: Tx) -> None:
        self.refused, self.over, self.blocked = {}, set(), set(self._blocked)
        done = await ledger_store.known_holds(tx, self._asks) if self._tried and self._asks else set[UUID]()
        self._tried = True
        asks = [ask for ask in self._asks if ask.hold_id not in done]
        books = await self._read(tx, asks)
        for closing in self._closings:
            batch.close(books, closing)
        for ask in asks:
            if ask.hold_id not in self.over and (refused := batch.hold(books, ask, self.blocked)) is not None:
                self.refused[ask.hold_id] = refused
        await self._store(tx, books)

    async def _read(self, tx: Tx, asks: Sequence[Ask]) -> Books:
        """Everything locked, in the order that everybody keeps."""
        await share_books(tx, tx.organization_id)
        runs = sorted({ask.charge.run_id for ask in asks})
        wanted = sorted({*(ask.charge.job_id for ask in asks), *(closing.job_id for closing in self._closings)})
        live, money = await self._jobs.lock(tx, runs, wanted)
        self.over = {ask.hold_id for ask in asks if ask.charge.run_id not in live}
        books = Books(
            tx.clock.now(), {job_id: JobBook(row.cost_nanos, row.held_nanos) for job_id, row in money.items()}
        )
        ids = await ledger_store.periods_of_holds(tx, self._closings) if self._closings else set[UUID]()
        await ledger_store.read_periods(tx, books, asks, ids)
        if self._closings:
            await ledger_store.read_holds(tx, books, self._closings)
        return books

    async def _store(self, tx: Tx, books: Books) -> None:
        await ledger_store.write(tx, books)
        changes = [
            JobChange(job_id, job.held, job.cost, job.unknown, dict(job.usage), job.holds)
            for job_id, job in sorted(books.jobs.items())
            if job.held or job.cost or job.unknown or job.usage or job.holds
        ]
        if changes:
            await self._jobs.write(tx, changes)
        if books.bookings:
            for add_up in self._booked:
                await add_up(tx, books.bookings)
        await follow(tx, books)


def _over_limit(ask: Ask, refused: OverJobLimit) -> CostLimitReached:
    return CostLimitReached(
        "The next model call could pass the job's cost limit, so it was not made. Raise limits.cost_usd and fork the "
        "job to go on from here.",
        limit_nanos=ask.job_limit_nanos,
        bound_nanos=ask.amount_nanos,
        available_nanos=refused.available_nanos,
    )


def _fail(op: _Op, error: BaseException) -> None:
    if not op.answer.done():
        op.answer.set_exception(error)


def _seen(answer: asyncio.Future[None]) -> None:
    """Nobody may wait for it any more: its error is no news then."""
    if not answer.cancelled():
        answer.exception()
