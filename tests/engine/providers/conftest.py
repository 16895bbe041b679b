"""A chain of candidates with everything around it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from engine.providers.doubles import Chain, MeterBooks, StillClock
from shopfloor.engine.providers.attempts import CallPolicy
from shopfloor.engine.providers.chain import Candidate, ChainModel


@pytest.fixture
async def chain_of() -> AsyncIterator[Callable[..., Chain]]:
    """`chain_of(candidate, ..., policy=, limit_nanos=)`; connections are closed at the end."""
    made: list[Chain] = []

    def make(*candidates: Candidate, policy: CallPolicy | None = None, limit_nanos: int = 10**12) -> Chain:
        meter, clock, events = MeterBooks(limit_nanos), StillClock(), []

        async def on_event(kind: str, data: dict[str, Any]) -> None:
            events.append((kind, data))

        model = ChainModel(candidates, meter=meter, clock=clock, rng=random.Random(7), policy=policy, on_event=on_event)
        made.append(Chain(model, meter, clock, events))
        return made[-1]

    yield make
    for chain in made:
        await chain.model.aclose()
