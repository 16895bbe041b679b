"""The dispatcher's loop ends when it is told to, also in the very moment in which it is poked."""

from __future__ import annotations

import asyncio
import random

from ledgers import ledger_of
from shopfloor.domain.jobs.dispatch import Dispatcher
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store


async def test_a_poke_together_with_the_cancellation_does_not_keep_it_alive(registered: Store):
    dispatcher = Dispatcher(
        registered,
        JobsSettings(sweep_s=60),
        Notifier(registered.database),
        chance=random.Random(1),
        ledger=ledger_of(registered),
    )
    loop = asyncio.create_task(dispatcher.run())
    while not _waits(loop):  # noqa: ASYNC110 - the loop has no event of its own for this
        await asyncio.sleep(0.01)
    dispatcher.poke()
    loop.cancel()
    done, _ = await asyncio.wait({loop}, timeout=5)
    assert done


def _waits(loop: asyncio.Task[None]) -> bool:
    return any(frame.f_code.co_name == "run" for frame in loop.get_stack()) and _awaits_an_event(loop)


def _awaits_an_event(loop: asyncio.Task[None]) -> bool:
    inner = loop.get_coro().cr_await
    while getattr(inner, "cr_await", None) is not None:
        if inner.cr_code.co_qualname == "Event.wait":
            return True
        inner = inner.cr_await
    return False
