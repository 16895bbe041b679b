"""How a job's events read, and how its end is told."""

from __future__ import annotations

import io
from typing import Any

import pytest

from shopfloor.apps.cli.failures import exit_code_of_job
from shopfloor.apps.cli.screen import Screen
from shopfloor.apps.cli.story import Story
from shopfloor.apps.cli.summary import facts, headline, run_lines, tell_end


def _event(kind: str, **data: Any) -> dict[str, Any]:
    return {"seq": 1, "kind": kind, "data": data, "at": "2026-01-05T09:00:00Z"}


def _replied(turn: int, *tools: str) -> dict[str, Any]:
    calls = [{"call": f"c{number}", "tool": tool} for number, tool in enumerate(tools)]
    usage = {"requests": 1, "input_tokens": 100, "output_tokens": 20}
    return _event("model.replied", turn=turn, text="", calls=calls, usage=usage, cost_nanos=1_000_000)


def _texts(story: Story, *events: dict[str, Any]) -> list[str]:
    return [line.text for event in events for line in story.lines(event)]


def test_a_lone_tool_is_told_when_it_starts_and_its_output_folded_when_it_ends():
    output = "\n".join(f"line {number}" for number in range(20))

    told = _texts(
        Story(),
        _replied(1, "shell"),
        _event("tool.started", tool="shell", call="c0", arguments={"command": "make"}),
        _event("tool.finished", tool="shell", call="c0", result={"ok": True, "text": output}),
    )

    assert told[0] == "  > shell make"
    assert told[1:] == ["    ... 14 more lines", *(f"    line {number}" for number in range(14, 20))]


def test_tools_that_run_side_by_side_keep_their_output_under_their_name():
    story = Story()
    started = [_event("tool.started", tool="shell", call=call, arguments={"command": call}) for call in ("c0", "c1")]
    ended = [_event("tool.finished", tool="shell", call=call, result={"text": f"of {call}"}) for call in ("c1", "c0")]

    told = _texts(story, _replied(1, "shell", "shell"), *started, *ended)

    assert told == ["  > shell c1", "    of c1", "  > shell c0", "    of c0"]


def test_the_tally_counts_calls_tokens_and_money():
    story = Story()
    _texts(story, _replied(1), _replied(2))
    assert story.tally.as_text() == "turn 2 · 240 tokens · $0.0020 · model"


def test_an_event_that_nobody_knows_is_told_only_to_those_who_want_everything():
    event = _event("some.thing", fact="x")
    assert _texts(Story(), event) == []
    assert "some.thing" in _texts(Story(verbose=True), event)[0]


@pytest.mark.parametrize(
    ("state", "verified", "ending", "code", "told"),
    [
        ("succeeded", True, "finished", 0, "verified: the platform ran the checks"),
        ("succeeded", None, "finished", 0, "unverified"),
        ("succeeded", False, "finished", 1, "NOT verified"),
        ("failed", None, "cost-limit", 6, "cost-limit"),
        ("failed", None, "time-limit", 124, "time-limit"),
        ("failed", None, "repository-unknown", 4, "repository-unknown"),
        ("failed", None, "stuck", 1, "stuck"),
        ("cancelled", None, "cancelled", 1, "cancelled"),
    ],
)
def test_every_ending_has_its_words_and_its_exit_code(
    state: str, verified: bool | None, ending: str, code: int, told: str
):
    job = _job(state=state, verified=verified, ending=ending)
    assert exit_code_of_job(job) == code
    assert told in headline(job).text


def test_a_hostile_path_report_or_diff_cannot_reach_the_terminal():
    page = io.StringIO()
    change = {"path": "a\x1b[2Jb", "status": "added", "additions": 1, "deletions": 0, "binary": False}

    tell_end(Screen(page), _job(changes=[change], output={"summary": "[bold]\x1b]0;x\x07fine"}), b"+\x1b[31mred\n")

    assert "\x1b" not in page.getvalue()
    assert "changed     ab  added, +1 -0" in page.getvalue()
    assert "report      [bold]fine" in page.getvalue()


def _job(**changes: Any) -> dict[str, Any]:
    return {
        "id": "019a0000-0000-7000-8000-000000000000", "state": "succeeded", "verified": None, "ending": "finished",
        "error": None, "baseline": None, "check_results": None, "changes": None, "output": None, "usage": {},
        "cost_nanos": 0, "unknown_nanos": 0, "started_at": None, "finished_at": None,
    } | changes  # fmt: skip


def test_a_job_that_waits_says_for_what_and_when_it_looks_again_and_each_run_its_end():
    waiting = _job(state="waiting", ending=None, waiting_reason="provider", not_before="2026-01-05T09:00:00+00:00")
    assert headline(waiting).text == "waiting     for provider"
    assert [line.text for line in facts(waiting) if line.text.startswith("again       not before 2026-01-05")]
    assert not [line for line in facts(_job(not_before=waiting["not_before"])) if line.text.startswith("again")]
    run = {
        "fence": 2, "worker": "host-7\x1b[2J", "state": "ended", "ending": "parked",
        "claimed_at": "2026-01-05T09:00:00Z", "ended_at": "2026-01-05T09:00:03.100Z", "error": {"detail": "busy\n529"},
    }  # fmt: skip
    [parked, live] = run_lines(
        [run, run | {"fence": 3, "state": "running", "ending": None, "ended_at": None, "error": None}]
    )
    assert parked.text == "run 2       parked  on host-7, after 3.1 s: busy 529"
    assert live.text == "run 3       running  on host-7"
