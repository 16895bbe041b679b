"""End background tasks so that they are really over."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them and wait; cancel again what goes on all the same. Their errors are not raised.

    Until Python 3.12 `asyncio.wait_for` loses a cancellation that comes in the moment its own wait ends, and psycopg
    waits with it: a loop around it would go on for ever. Source: CPython issue 86296.
    """
    going_on = {task for task in tasks if not task.done()}
    while going_on:
        for task in going_on:
            task.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen
