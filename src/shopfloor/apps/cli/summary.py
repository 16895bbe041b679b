"""How a job ended, for people: what it came to, what changed, what it cost, what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shopfloor.apps.cli.screen import Screen
from shopfloor.apps.cli.story import Line, Tone, check_line, part, parts
from shopfloor.apps.cli.terminal import one_line, printable
from shopfloor.base.money import format_usd

Job = Mapping[str, Any]  # as JobReply serves it

_DIFF_LINES = 200


def tell_end(screen: Screen, job: Job, patch: bytes | None, *, following: Sequence[str] = ()) -> None:
    """Everything about a job that has ended. `patch` None: the diff isn't shown."""
    screen.show([Line(""), headline(job), *facts(job)])
    if patch:
        screen.show([Line("")])
        screen.diff(_bounded(patch.decode("utf-8", "replace"), str(job["id"])))
    if following:
        screen.show([Line(""), Line("Next", "head"), *(Line(f"  {each}") for each in following)])


def headline(job: Job) -> Line:
    """`succeeded, verified: ...`."""
    match (job["state"], job["verified"]):
        case ("succeeded", True):
            return Line("succeeded   verified: the platform ran the checks on the result itself, and they pass", "good")
        case ("succeeded", False):
            return Line("succeeded   NOT verified: the agent says it is done, the platform's checks fail", "bad")
        case ("succeeded", _):
            return Line("succeeded   unverified: there was no check that the platform could run", "warn")
        case (state, _):
            why = part(job, "error").get("detail") or job["ending"] or _waits_for(job)
            tone: Tone = "warn" if state in {"cancelled", "queued", "running", "waiting"} else "bad"
            return Line(f"{state:<11} {one_line(str(why), 1_000)}".rstrip(), tone)


def facts(job: Job) -> list[Line]:
    """Before, after, changed files, report, use."""
    lines = [check_line("before", result, surprising=False) for result in parts(job, "baseline")]
    lines += [check_line("after", result, surprising=True) for result in parts(job, "check_results")]
    for change in parts(job, "changes"):
        lines.append(Line(f"changed     {printable(change['path'])}  {_counts(change)}"))
    if job["changes"] == []:
        lines.append(Line("changed     nothing"))
    if summary := part(job, "output").get("summary"):
        lines.append(Line(f"report      {one_line(str(summary), 500)}"))
    if job["state"] in {"waiting", "queued"} and job["not_before"]:
        again = datetime.fromisoformat(job["not_before"]).astimezone()
        lines.append(Line(f"again       not before {again:%Y-%m-%d %H:%M:%S %Z}", "warn"))
    lines.append(Line(f"used        {used(job)}"))
    lines.append(Line(f"job         {job['id']}"))
    return lines


def run_lines(runs: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Each attempt by a worker, oldest first: `run 1       parked  on host-7, after 3.1 s: ...`."""
    lines: list[Line] = []
    for run in runs:
        told = f"{run['ending'] or run['state']}  on {one_line(str(run['worker']), 60)}"
        if run["ended_at"]:
            took = datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["claimed_at"])
            told += f", after {took.total_seconds():.1f} s"
        why = part(run, "error").get("detail")
        told += f": {one_line(str(why), 600)}" if why else ""
        lines.append(Line(f"{'run ' + str(run['fence']):<11} {told}", "warn" if why else "plain"))
    return lines


def used(job: Job) -> str:
    """`7 model calls, 52,900 tokens, $0.0631, 9.1 s`."""
    usage = part(job, "usage")
    tokens = sum(count for name, count in usage.items() if name != "requests")
    told = [f"{usage.get('requests', 0)} model calls", f"{tokens:,} tokens", format_usd(job["cost_nanos"])]
    if job["unknown_nanos"]:
        told.append(f"of which {format_usd(job['unknown_nanos'])} for calls of unknown fate, at their most")
    if job["started_at"] and job["finished_at"]:
        took = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["started_at"])
        told.append(f"{took.total_seconds():.1f} s")
    return ", ".join(told)


def _counts(change: Mapping[str, Any]) -> str:
    if change.get("binary"):
        return f"{change['status']}, binary"
    return f"{change['status']}, +{change['additions']} -{change['deletions']}"


def _waits_for(job: Job) -> str:
    if not job["waiting_reason"]:
        return ""
    because = part(job, "waiting_because").get("detail")
    return f"for {job['waiting_reason']}: {because}" if because else f"for {job['waiting_reason']}"


def _bounded(patch: str, job_id: str) -> str:
    lines = patch.split("\n")
    if len(lines) <= _DIFF_LINES:
        return patch
    rest = f"... {len(lines) - _DIFF_LINES} more lines: shopfloor job diff {job_id}"
    return "\n".join([*lines[:_DIFF_LINES], rest])
