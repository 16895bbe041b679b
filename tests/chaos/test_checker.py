"""Every rule of the checker finds a violation that was planted, and nothing in a history without one."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from chaos.checker import RULES, check, unknown_calls
from chaos.history import Billed, History, Hold, JobEnd, Left, Submitted, Watch

KINDS = ["job.queued", "job.running", "tool.started", "tool.finished", "job.succeeded"]


def good() -> tuple[History, Left]:
    """Two jobs: one with a call that was lost in flight, one cancelled."""
    done = JobEnd(
        "id-1", "a", "succeeded", 5, 130, 0, 100, 1, list(zip(range(1, 6), KINDS, strict=True)), [(1, "c1")],
        [Hold(1, "unknown", 100, 100), Hold(1, "settled", 20, 100), Hold(2, "settled", 10, 100),
         Hold(2, "released", 0, 100)], 0,
    )  # fmt: skip
    away = JobEnd("id-2", "b", "cancelled", 2, 0, 0, 0, 0, [(1, "job.queued"), (2, "job.cancelled")], [], [], 0)
    history = History(
        [Submitted("a", ["id-1", "id-1"]), Submitted("b", ["id-2"], cancelled=True), Submitted("never")],
        [Watch("id-1", [1, 2, 3, 4, 5], ended=True), Watch("id-2", [1])],
    )
    bill = [Billed("a", 0, 20, delivered=False), Billed("a", 0, 20, delivered=True), Billed("a", 1, 10, delivered=True)]
    return history, Left([done, away], bill)


def test_a_history_without_a_violation_passes_and_lists_its_unknown_calls():
    history, left = good()
    assert check(history, left) == []
    assert unknown_calls(left) == ["a turn 1: 100"]


PLANTED: dict[str, tuple[str, Callable[[History, Left], object]]] = {
    "two ids for one key": ("one_job_for_one_key", lambda h, _: h.submitted[0].answers.append("id-2")),
    "acknowledged and lost": ("one_job_for_one_key", lambda h, _: h.submitted[2].answers.append("id-9")),
    "two jobs for one key": ("one_job_for_one_key", lambda _, left: _copy(left, "id-3")),
    "never ended": ("one_terminal_state", lambda _, left: _set(left, state="running")),
    "ended twice": ("one_terminal_state", lambda _, left: left.jobs[0].events.__setitem__(2, (3, "job.failed"))),
    "something after the end": (
        "one_terminal_state",
        lambda _, left: left.jobs[0].events.__setitem__(slice(3, 5), [(4, "job.succeeded"), (5, "run.lost")]),
    ),
    "failed": ("no_job_fails_for_it", lambda _, left: _set(left, state="failed")),
    "a cancel that was forgotten": (
        "acknowledged_cancels_hold",
        lambda h, _: setattr(h.submitted[0], "cancelled", True),
    ),
    "a gap in the store": ("sequences_have_no_gap", lambda _, left: left.jobs[0].events.pop(1)),
    "a gap for a watcher": ("sequences_have_no_gap", lambda h, _: h.watches[0].seqs.pop(1)),
    "a repetition for a watcher": ("sequences_have_no_gap", lambda h, _: h.watches[0].seqs.insert(1, 1)),
    "a watcher that saw an end too early": (
        "sequences_have_no_gap",
        lambda h, _: setattr(h.watches[1], "ended", True),
    ),
    "two results for one call": (
        "one_result_for_a_tool_call",
        lambda _, left: left.jobs[0].tool_results.append((1, "c1")),
    ),
    "settled and never billed": ("the_ledger_is_the_bill", lambda _, left: left.bill.pop()),
    "billed and in no book": (
        "the_ledger_is_the_bill",
        lambda _, left: left.bill.append(Billed("a", 1, 10, delivered=False)),
    ),
    "billed above what is booked": (
        "the_ledger_is_the_bill",
        lambda _, left: setattr(left.bill[0], "cost_nanos", 101),
    ),
    "paid twice": ("the_ledger_is_the_bill", lambda _, left: _paid_twice(left)),
    "billed for nobody": (
        "the_ledger_is_the_bill",
        lambda _, left: left.bill.append(Billed("x", 0, 1, delivered=True)),
    ),
    "still held": ("the_books_add_up", lambda _, left: _set(left, held_nanos=1)),
    "a hold that stayed": ("the_books_add_up", lambda _, left: setattr(left.jobs[0].holds[3], "state", "held")),
    "negative": ("the_books_add_up", lambda _, left: _set(left, held_nanos=-1)),
    "a cost that is not its calls": ("the_books_add_up", lambda _, left: _set(left, cost_nanos=131)),
    "a ledger that doesn't add up": ("the_books_add_up", lambda _, left: left.ledger.append("spent is wrong")),
    "a sandbox": ("nothing_is_left", lambda _, left: left.sandboxes.append("sf-1")),
    "a task": ("nothing_is_left", lambda _, left: left.stuck_tasks.append("mail.send 7")),
    "a dead job without a letter": ("nothing_is_left", lambda _, left: _dead(left, letters=0)),
    "a dead job with two": ("nothing_is_left", lambda _, left: _dead(left, letters=2)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name: str):
    rule, plant = PLANTED[name]
    history, left = good()
    plant(history, left)
    found = check(history, left)
    assert any(each.startswith(f"{rule}: ") for each in found), found


def test_every_rule_has_a_planted_violation():
    assert {rule for rule, _ in PLANTED.values()} == {rule.__name__ for rule in RULES}


def test_a_dead_job_with_its_letter_is_fine():
    history, left = good()
    _dead(left, letters=1)
    assert check(history, left) == []


def _set(left: Left, **fields: object) -> None:
    for name, value in fields.items():
        setattr(left.jobs[0], name, value)


def _copy(left: Left, job_id: str) -> None:
    left.jobs.append(deepcopy(left.jobs[0]))
    left.jobs[-1].id = job_id


def _dead(left: Left, *, letters: int) -> None:
    _set(left, state="dead", letters=letters)
    left.jobs[0].events[4] = (5, "job.dead")


def _paid_twice(left: Left) -> None:
    """A delivered call again, its first bill hidden among the lost: by count alone the books would pass."""
    left.bill[0].turn = 1
    left.bill[0].delivered = True
