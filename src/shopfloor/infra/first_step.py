"""Take a coroutine's first step without a task: most writes to a socket never wait, and need none."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any


def first_step(coroutine: Coroutine[Any, Any, None]) -> Rest | None:
    """Run `coroutine` up to where it waits. None: it ran to its end. Else a task must await the rest.

    What it raises comes out here. Waking a task costs more than such a write: benchmarks/event_stream.py.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    return Rest(coroutine, waits_for)


class Rest:
    """What is left of a coroutine that waits for a future. Await it once, from any task of the same loop."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        """Hand the future it waits for to the task, then go on where it stopped."""
        try:
            yield self._waits_for
        except BaseException as error:  # a cancelled task: the coroutine must see it too
            self._coroutine.throw(error)
            raise
        yield from self._coroutine.__await__()

    def close(self) -> None:
        """Give it up."""
        self._coroutine.close()
