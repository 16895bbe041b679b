"""Calls of a keeper's own blocking client: in few threads of their own, each with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shopfloor.infra.secrets.port import MasterKeysAway

T = TypeVar("T")
_MOST = 4  # a keeper that hangs takes these, and no thread that others need


class Threads:
    """One a keeper. The client's own time-outs end a call that nobody waits for any more."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(_MOST, thread_name_prefix=f"secrets-{name}")

    async def do(self, work: Callable[[], T]) -> T:
        """`work()`. Raises: what it raises; MasterKeysAway after the deadline."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            raise MasterKeysAway(
                f"{self._name} did not answer within {self._timeout_s:g} s. Opened keys go on working until their "
                "time ends; look whether it is up and reachable, or raise SHOPFLOOR_SECRETS__CALL_TIMEOUT_S.",
            ) from error

    def close(self) -> None:
        """Without waiting for a call that hangs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
