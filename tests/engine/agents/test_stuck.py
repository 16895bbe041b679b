from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.engine.agents.stuck import Event, find_circle

WORDS = Event("")


def did(action: str, result: str = "r", *, error: bool = False) -> Event:
    return Event(action, result, error, label=action)


A, B, C = did("a"), did("b"), did("c")
FAILED = did("a", "e", error=True)


@pytest.mark.parametrize(
    ("events", "pattern"),
    [
        ([A] * 4, "same-result"),
        ([B, *[A] * 4], "same-result"),
        ([FAILED] * 3, "same-error"),
        ([A, B] * 3, "alternating"),
        ([A, WORDS, B, WORDS, C, WORDS], "monologue"),
    ],
)
def test_a_circle_is_found(events: list[Event], pattern: str) -> None:
    circle = find_circle(events)
    assert circle is not None
    assert circle.pattern == pattern


@pytest.mark.parametrize(
    "events",
    [
        [],
        [A] * 3,
        [A, A, A, B],
        [FAILED] * 2,
        [did("a", str(n)) for n in range(10)],  # the same action, but something comes of it
        [A, B, A, B, A],
        [A, B, C] * 3,
        [A, did("b", "1"), A, did("b", "2"), A, did("b", "3")],
        [WORDS, A, WORDS],
        [WORDS, *[did(str(n)) for n in range(20)], WORDS, WORDS],  # long ago
    ],
)
def test_work_is_not_taken_for_a_circle(events: list[Event]) -> None:
    assert find_circle(events) is None


@given(st.lists(st.sampled_from([A, B, C, FAILED, WORDS]), max_size=40))
def test_only_the_last_twenty_events_count(events: list[Event]) -> None:
    assert find_circle(events) == find_circle(events[-20:])
