"""A job's events as lines for people. Pure: events in, lines and a tally out; nothing in a line can move the cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from shopfloor.apps.cli.terminal import one_line, printable
from shopfloor.base.money import format_usd

Event = Mapping[str, Any]
Tone = Literal["plain", "dim", "good", "bad", "warn", "head", "said"]

_FOLD_LINES = 6
_LINE_CHARS = 160
_MARKS = {"done": "[x]", "in_progress": "[>]", "pending": "[ ]", "dropped": "[-]"}
_QUIET_TOOLS = {"guidance", "update_plan", "finish"}  # told by other events, or by the end
_READING_TOOLS = {"read_file", "list_files", "grep"}  # what they found is for the model


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and how it may be coloured."""

    text: str
    tone: Tone = "plain"


@dataclass(slots=True)
class Tally:
    """What the job has used so far, as its events tell."""

    turns: int = 0
    tokens: int = 0
    cost_nanos: int = 0
    doing: str = ""

    def as_text(self) -> str:
        """`turn 4 · 12,345 tokens · $0.0421 · run_tests`."""
        parts = [f"turn {self.turns}", f"{self.tokens:,} tokens", format_usd(self.cost_nanos), self.doing]
        return " · ".join(part for part in parts if part)


@dataclass(slots=True)
class Story:
    """Tells one job. `verbose` leaves nothing folded."""

    verbose: bool = False
    tally: Tally = field(default_factory=Tally)
    side_by_side: dict[str, Line] = field(default_factory=dict[str, Line])  # by call: told when it ends
    calls: int = 0  # of the turn at hand

    def lines(self, event: Event) -> list[Line]:
        """What an event adds to the page; often nothing."""
        data: Mapping[str, Any] = event["data"]
        teller = _TELLERS.get(event["kind"])
        if teller is not None:
            return teller(self, data)
        return [Line(f"{event['kind']}  {one_line(str(dict(data)), _LINE_CHARS)}", "dim")] if self.verbose else []

    def folded(self, text: str, indent: str = "    ") -> list[Line]:
        """A text's last lines; how many were left out stands above them."""
        every = [line.rstrip() for line in printable(text).strip("\n").split("\n")]
        most = len(every) if self.verbose else _FOLD_LINES
        shown = [Line(indent + line[:_LINE_CHARS], "dim") for line in every[-most:] if line]
        hidden = len(every) - most
        return [Line(f"{indent}... {hidden} more lines", "dim"), *shown] if hidden > 0 else shown


def _queued(_: Story, data: Event) -> list[Line]:
    if "why" in data:
        return [Line(f"queued again: {one_line(str(data['why']))}", "warn")]
    return [Line(f"queued      agent {data.get('agent')}, model {one_line(str(data.get('model')))}")]


def _running(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "repository"
    run = data.get("run", 1)
    return [Line(f"running     on {one_line(str(data.get('worker')))}" + (f", run {run}" if run != 1 else ""))]


def _repository(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "checks before the work"
    resumed = f", goes on from {str(data['snapshot'])[:12]}" if "snapshot" in data else ""
    return [Line(f"repository  {str(data.get('commit'))[:12]}{resumed}")]


def _baseline(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "sandbox"
    if not data["results"]:
        return [Line("before      no checks are named, and none was found: the result can't be verified", "warn")]
    return _checks(story, "before", data["results"], expected=False)


def _sandbox(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "model"
    isolation = part(data, "isolation")
    facts = [f"{isolation.get('backend')}/{isolation.get('runtime')}", f"network {isolation.get('network')}"]
    facts += [f"{name} {isolation[name]}" for name in ("memory", "cpu", "disk") if isolation.get(name)]
    return [Line(f"sandbox     {', '.join(facts)}")]


def _refused(_: Story, data: Event) -> list[Line]:
    return [Line(f"  network   {one_line(str(data.get('place')))} was refused: {data.get('reason')}", "warn")]


def _replied(story: Story, data: Event) -> list[Line]:
    tally = story.tally
    tally.turns = max(tally.turns, int(data.get("turn", 0)))
    usage = part(data, "usage")
    story.calls = len(data.get("calls") or ())
    tally.tokens += sum(count for name, count in usage.items() if name != "requests")
    tally.cost_nanos += int(data.get("cost_nanos") or 0)
    tally.doing = "model"
    text = printable(str(data.get("text") or "")).strip()
    return [Line(""), *(Line(line, "said") for line in text.split("\n"))] if text else []


def _plan(_: Story, data: Event) -> list[Line]:
    return [
        Line(f"  {_MARKS.get(step['status'], '[ ]')} {one_line(str(step['step']))}", _plan_tone(step["status"]))
        for step in parts(data, "steps")
    ]


def _tool_started(story: Story, data: Event) -> list[Line]:
    tool = one_line(str(data["tool"]), 60)
    story.tally.doing = tool
    if tool in _QUIET_TOOLS:
        return []
    shown = _told_arguments(part(data, "arguments"))
    line = Line(f"  > {tool}{' ' + shown if shown else ''}", "head")
    if story.calls > 1:
        story.side_by_side[str(data.get("call"))] = line
        return []
    return [line]


def _tool_finished(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "model"
    text = str(part(data, "result").get("text") or "")
    if data["tool"] in _QUIET_TOOLS:
        return []
    begun = story.side_by_side.pop(str(data.get("call")), None)
    head = [begun] if begun else []
    if data["tool"] in _READING_TOOLS and not story.verbose and part(data, "result").get("ok"):
        return [*head, Line(f"    {len(text.splitlines())} lines", "dim")]
    return [*head, *story.folded(text)]


def _after_started(story: Story, _: Event) -> list[Line]:
    story.tally.doing = "checks of the result"
    return [Line(""), Line("The platform checks the result itself, in a fresh sandbox.", "plain")]


def _after(story: Story, data: Event) -> list[Line]:
    return _checks(story, "after", data["results"], expected=True)


def _checks(story: Story, when: str, results: list[dict[str, Any]], *, expected: bool) -> list[Line]:
    lines: list[Line] = []
    for result in results:
        lines.append(check_line(when, result, surprising=expected))
        if expected and not result["passed"]:
            lines += story.folded(str(result["output"]))
    return lines


def check_line(when: str, result: Mapping[str, Any], *, surprising: bool) -> Line:
    """`before      FAILED  python3 -m pytest -q  (exit 1, 0.5 s)`."""
    how = "timed out" if result.get("timed_out") else f"exit {result.get('exit_code')}"
    word = "passed" if result["passed"] else "FAILED"
    tone: Tone = "good" if result["passed"] else "bad" if surprising else "warn"
    return Line(f"{when:<11} {word}  {one_line(str(result['command']))}  ({how}, {result['duration_s']:.1f} s)", tone)


def _waiting(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "waiting"
    why = part(data, "error").get("detail", "")
    at_most = f", {data['wait_s']} s" if data.get("wait_s") else ""
    return [Line(f"waiting     for {data.get('reason')}{at_most}: {one_line(str(why), 400)}", "warn")]


def _asked(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "waiting"
    what = one_line(str(data.get("summary")), 400)
    return [
        Line(f"approval    {what}", "warn"),
        Line(f"            shopfloor approval approve {data.get('approval')}", "dim"),
    ]


def _decided(_: Story, data: Event) -> list[Line]:
    reason = f": {one_line(str(data['reason']), 300)}" if data.get("reason") else ""
    return [Line(f"approval    {data.get('state')} by {one_line(str(data.get('by')))}{reason}", "warn")]


def _retrying(_: Story, data: Event) -> list[Line]:
    return [Line(f"model       tried again: {one_line(str(data.get('detail') or data.get('code') or ''))}", "warn")]


def _failed_over(_: Story, data: Event) -> list[Line]:
    return [Line(f"model       from {data.get('from')} to {data.get('to')}", "warn")]


def _nudged(_: Story, data: Event) -> list[Line]:
    return [Line(f"nudged      {one_line(str(data.get('detail')))}", "warn")]


def _lost(_: Story, data: Event) -> list[Line]:
    return [Line(f"lost        the worker {one_line(str(data.get('worker')))} died; the job goes on elsewhere", "warn")]


def _run_failed(_: Story, data: Event) -> list[Line]:
    why = part(data, "error").get("detail", "")
    return [Line(f"trouble     {one_line(str(why), 600)}; tried again in {data.get('wait_s')} s", "bad")]


def _cancelling(story: Story, data: Event) -> list[Line]:
    story.tally.doing = "cancelling"
    return [Line(f"cancelling  asked for by {one_line(str(data.get('by')))}", "warn")]


def _nothing(_: Story, __: Event) -> list[Line]:
    return []


def _told_arguments(arguments: Mapping[str, Any]) -> str:
    """The argument that says most, else all of them, on one line."""
    for name in ("command", "path", "pattern", "agent"):
        if name in arguments:
            return one_line(str(arguments[name]), _LINE_CHARS)
    return one_line(", ".join(f"{name}={value}" for name, value in arguments.items()), _LINE_CHARS)


def part(data: Event, name: str) -> dict[str, Any]:
    """An object inside one; empty where there is none."""
    return cast("dict[str, Any]", data.get(name) or {})


def parts(data: Event, name: str) -> list[dict[str, Any]]:
    """A list of objects inside one; empty where there is none."""
    return cast("list[dict[str, Any]]", data.get(name) or [])


def _plan_tone(status: str) -> Tone:
    match status:
        case "in_progress":
            return "head"
        case "done" | "dropped":
            return "dim"
        case _:
            return "plain"


_TELLERS: dict[str, Callable[[Story, Event], list[Line]]] = {
    "job.queued": _queued,
    "job.running": _running,
    "job.waiting": _waiting,
    "approval.asked": _asked,
    "approval.decided": _decided,
    "job.cancelling": _cancelling,
    "job.succeeded": _nothing,  # the summary tells the end
    "job.failed": _nothing,
    "job.cancelled": _nothing,
    "job.dead": _nothing,
    "repository.ready": _repository,
    "checks.baseline": _baseline,
    "sandbox.opened": _sandbox,
    "network.allowed": _nothing,  # the stream and the page have it; a refusal is worth a line
    "network.refused": _refused,
    "model.replied": _replied,
    "model.retrying": _retrying,
    "model.failed-over": _failed_over,
    "plan.updated": _plan,
    "tool.started": _tool_started,
    "tool.output": _nothing,  # its end comes with tool.finished
    "tool.finished": _tool_finished,
    "checks.after.started": _after_started,
    "checks.after": _after,
    "agent.nudged": _nudged,
    "run.lost": _lost,
    "run.failed": _run_failed,
}
