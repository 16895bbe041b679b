"""A clock that a test moves: the machine's time, later by as much as was asked for."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class MovingClock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def forward(self, **how_far: float) -> None:
        self.ahead += timedelta(**how_far)
