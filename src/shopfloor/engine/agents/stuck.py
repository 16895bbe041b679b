"""Telling that an agent goes in circles, purely from what it did.

Source of the thresholds: docs of OpenHands' stuck detector, and our own runs (docs/why/agents.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WINDOW = 20  # events looked back on
SAME_RESULT = 4  # the same action with the same result, in a row
SAME_ERROR = 3  # the same action with the same error, in a row
MONOLOGUE = 3  # replies without any action within the window
ALTERNATING = 6  # two actions in turn, each with its same result

Pattern = Literal["same-result", "same-error", "monologue", "alternating"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing an agent did: a call (what, and what came of it, as digests), or words alone."""

    action: str  # "" for words alone
    result: str = ""
    error: bool = False
    label: str = ""  # for people: the tool's name


@dataclass(frozen=True, slots=True)
class Circle:
    """A pattern that was found, and a sentence about it."""

    pattern: Pattern
    detail: str


def find_circle(events: Sequence[Event]) -> Circle | None:
    """The circle the latest events go in, if they do."""
    recent = events[-WINDOW:]
    if not recent:
        return None
    last = recent[-1]
    if last.action:
        return _repetition(recent, last) or _alternation(recent)
    if sum(not event.action for event in recent) >= MONOLOGUE:
        return Circle("monologue", f"it replied {MONOLOGUE} times with words instead of a tool call")
    return None


def _repetition(recent: Sequence[Event], last: Event) -> Circle | None:
    times = 0
    for event in reversed(recent):
        if (event.action, event.result) != (last.action, last.result):
            break
        times += 1
    if last.error and times >= SAME_ERROR:
        return Circle("same-error", f"it called {last.label} {times} times in a row and got the same error")
    if times >= SAME_RESULT:
        return Circle("same-result", f"it called {last.label} {times} times in a row and got the same result")
    return None


def _alternation(recent: Sequence[Event]) -> Circle | None:
    if len(recent) < ALTERNATING:
        return None
    tail = [(event.action, event.result) for event in recent[-ALTERNATING:]]
    if len(set(tail)) == 2 and tail[::2] == [tail[0]] * (ALTERNATING // 2) and tail[0] != tail[1]:  # noqa: PLR2004 - two in turn
        first, second = recent[-2].label, recent[-1].label
        return Circle("alternating", f"it went back and forth between {first} and {second} without any change")
    return None
