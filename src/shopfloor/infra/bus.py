"""Call down, publish up: who wants to hear of which event. A lower room never knows who listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

E = TypeVar("E")


class Subscriptions:
    """Event type -> the queue's tasks that follow it. Filled once, by apps/wiring.py."""

    def __init__(self) -> None:
        self._tasks: dict[type, list[tuple[str, Callable[[Any], dict[str, Any]]]]] = {}

    def subscribe(self, event: type[E], task: str, arguments: Callable[[E], dict[str, Any]]) -> None:
        """After each `event`, run `task` with `arguments(event)` (JSON), at least once."""
        self._tasks.setdefault(event, []).append((task, arguments))

    def tasks_for(self, event: object) -> list[tuple[str, dict[str, Any]]]:
        """The tasks to defer for one event, with their arguments."""
        return [(task, arguments(event)) for task, arguments in self._tasks.get(type(event), [])]
