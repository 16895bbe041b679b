"""The states of a job: which moves are legal, and how long the pauses are."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.domain.jobs.errors import JobEnded
from shopfloor.domain.jobs.lifecycle import (
    MOVES,
    TERMINAL,
    State,
    check_move,
    pause_s,
    state_after,
    state_after_crash,
)
from shopfloor.engine.agents.outcome import Ending

LEGAL = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "waiting"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "dead"),
    ("waiting", "queued"),
    ("waiting", "cancelled"),
}


@pytest.mark.parametrize(("state", "to"), list(product(State, State)))
def test_a_move_is_legal_or_refused_by_name(state: State, to: State):
    if (state.value, to.value) in LEGAL:
        check_move(state, to)
        return
    with pytest.raises(JobEnded, match=f"{state} can't become {to}"):
        check_move(state, to)


@given(st.lists(st.sampled_from(State), max_size=30))
def test_no_walk_of_moves_leaves_a_terminal_state(wishes: list[State]):
    state = State.QUEUED
    ended: State | None = None
    for to in wishes:
        if to in MOVES[state]:
            state = to
        if state in TERMINAL:
            ended = ended or state
    assert ended is None or state == ended


def test_every_state_can_be_reached_from_queued():
    seen, todo = {State.QUEUED}, [State.QUEUED]
    while todo:
        fresh = MOVES[todo.pop()] - seen
        seen |= fresh
        todo.extend(fresh)
    assert seen == set(State)


@given(
    attempt=st.integers(1, 10_000),
    base_s=st.floats(0.001, 60),
    longest_s=st.floats(0.001, 3_600),
    seed=st.integers(),
)
def test_a_pause_lies_between_nothing_and_its_doubled_bound(attempt: int, base_s: float, longest_s: float, seed: int):
    pause = pause_s(attempt, base_s=base_s, longest_s=longest_s, chance=random.Random(seed))
    assert 0 <= pause <= min(longest_s, base_s * 2 ** min(attempt - 1, 30))


def test_pauses_use_their_whole_range():
    chance = random.Random(7)
    pauses = [pause_s(4, base_s=1, longest_s=60, chance=chance) for _ in range(2_000)]
    assert min(pauses) < 0.4
    assert max(pauses) > 7.6
    assert 3.7 < sum(pauses) / len(pauses) < 4.3


@given(crashes=st.integers(1, 100), limit=st.integers(1, 100))
def test_a_job_is_dead_from_its_last_crash_on(crashes: int, limit: int):
    assert state_after_crash(crashes, limit=limit) == (State.DEAD if crashes >= limit else State.QUEUED)


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_leads_to_a_terminal_state(ending: Ending):
    wanted = {Ending.FINISHED: State.SUCCEEDED, Ending.CANCELLED: State.CANCELLED}.get(ending, State.FAILED)
    assert state_after(ending) == wanted
