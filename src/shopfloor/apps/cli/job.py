"""`shopfloor job`: submit, look at, watch and steer jobs."""

from __future__ import annotations

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import Client, Json, connected
from shopfloor.apps.cli.failures import exit_code_of_job
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_json, show_list
from shopfloor.apps.cli.screen import Screen
from shopfloor.apps.cli.story import Line
from shopfloor.apps.cli.summary import run_lines, tell_end
from shopfloor.base.errors import InvalidInput
from shopfloor.base.money import format_usd

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or enough of its beginning.", show_default=False)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Fold nothing.")]

CostUsd = Annotated[str | None, typer.Option(metavar="USD", help="What it may cost at most, e.g. 2.50.")]
Turns = Annotated[int | None, typer.Option(help="Turns at most.")]
Timeout = Annotated[int | None, typer.Option(metavar="SECONDS", help="Time at most.")]

_COLUMNS: list[Column] = [
    ("id", "id"), ("state", "state"), ("verified", "verified"), ("agent", "agent"), ("model", "model"),
    ("cost usd", "cost_usd"), ("created", "created_at"), ("task", "task"),
]  # fmt: skip
_STEPS: list[Column] = [
    ("turn", "turn"), ("scope", "scope"), ("kind", "kind"), ("name", "name"), ("state", "state"),
    ("attempt", "attempt"), ("cost usd", "cost_usd"), ("intended", "intended_at"), ("done", "done_at"),
]  # fmt: skip
_ENDED = {"succeeded", "failed", "cancelled", "dead"}
_SHORTEST = 8


def register(app: typer.Typer) -> None:
    """Add the noun."""
    job = typer.Typer(
        help="Jobs: submit, list, view, watch, logs, steps, diff, cancel, retry, fork.", no_args_is_help=True
    )
    job.command("submit", help="Queue a task; prints the job's id.")(_submit)
    job.command("list", help="Newest first.")(_list)
    job.command("view", help="One job: how it stands or ended.")(_view)
    job.command("watch", help="Follow it live until it ends.")(_watch)
    job.command("logs", help="Everything that happened so far.")(_logs)
    job.command("steps", help="Its journal: each model reply and tool call, with its turn.")(_steps)
    job.command("diff", help="What it changed, for `git apply`.")(_diff)
    job.command("cancel", help="Cancel it; what was done so far is kept.")(_cancel)
    job.command("retry", help="Do it again from the start, or replay it from its record at no cost.")(_retry)
    job.command("fork", help="A new job that goes on from before a turn of this one.")(_fork)
    app.add_typer(job, name="job")


def _submit(  # noqa: PLR0917 - each is one option
    task: Annotated[str, typer.Argument(help="What is to be done; - reads standard input.")],
    repo: Annotated[str | None, typer.Option(help="The repository's URL; without it an empty workspace.")] = None,
    ref: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    project: Annotated[str, typer.Option(help="Slug or id.")] = "default",
    model: Annotated[str | None, typer.Option(help="provider/model, fall-backs after commas.")] = None,
    agent: Annotated[str | None, typer.Option(help="`shopfloor agent list` shows them.")] = None,
    check: Annotated[list[str] | None, typer.Option(help="A command that decides; may be repeated.")] = None,
    cost_usd: CostUsd = None,
    turns: Turns = None,
    timeout: Timeout = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key gives the same job for 24 hours.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    body: Json = {
        "task": sys.stdin.read() if task == "-" else task,
        "project": project,
        "labels": dict(_label(each) for each in label or []),
        "limits": _limits(cost_usd, turns, timeout),
    }
    chosen = {
        "repo": {"url": repo, "ref": ref} if repo else None,
        "model": model,
        "agent": agent,
        "checks": check or None,
    }
    body |= {name: value for name, value in chosen.items() if value is not None}
    with connected() as client:
        job = client.post("jobs", body, **({"Idempotency-Key": idempotency_key} if idempotency_key else {}))
        _say_who_works(client)
        if watch and not client.local:
            raise typer.Exit(_follow(client, job["id"], as_json=as_json, verbose=False))
        done(job["id"], job, as_json=as_json)


def _list(
    limit: Limit = 30,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    project: Annotated[str | None, typer.Option(help="Slug or id.")] = None,
    agent: Annotated[str | None, typer.Option()] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME=VALUE")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        rows = client.items("jobs", most=limit, state=state, project=project, agent=agent, label=label)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no jobs yet.")


def _view(job: JobId, as_json: AsJson = False) -> None:
    with connected() as client:
        path = f"jobs/{_whole(client, job)}"
        found, runs = client.get(path), client.get(f"{path}/runs")
    if as_json:
        show_json(found | {"run_list": runs})
        return
    screen = Screen()
    screen.say(f"agent       {found['agent']}, model {found['model']}")
    if found["repo"]:
        screen.say(f"repository  {found['repo']['url']} {found['repo']['ref'] or ''}".rstrip())
    screen.say(f"task        {found['task']}")
    tell_end(screen, found, None)
    screen.show([Line(""), *run_lines(runs)] if runs else [])


def _steps(job: JobId, limit: Limit = 1_000, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items(f"jobs/{_whole(client, job)}/steps", most=limit)
    if not as_json:
        rows = [row | {"cost_usd": format_usd(row["cost_nanos"]) if row["kind"] == "model" else None} for row in rows]
    show_list(rows, _STEPS, as_json=as_json, none="It has taken no step yet.")


def _watch(job: JobId, verbose: Verbose = False, as_json: AsJson = False) -> None:
    with connected() as client:
        job_id = _whole(client, job)
        _say_who_works(client)
        raise typer.Exit(_follow(client, job_id, as_json=as_json, verbose=verbose))


def _logs(job: JobId, verbose: Verbose = False, as_json: AsJson = False) -> None:
    with connected() as client:
        job_id = _whole(client, job)
        seen, events = 0, list[Json]()
        while page := client.get(f"jobs/{job_id}/events", after=seen, limit=200)["items"]:
            seen = page[-1]["seq"]
            events += page
    if as_json:
        show_json(events)
        return
    screen = Screen(verbose=verbose)
    for event in events:
        screen.event(event)


def _diff(job: JobId) -> None:
    with connected() as client:
        patch = client.bytes_of(f"jobs/{_whole(client, job)}/diff")
    if sys.stdout.isatty():
        Screen().diff(patch.decode("utf-8", "replace"))
    else:
        sys.stdout.buffer.write(patch)


def _cancel(job: JobId, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.post(f"jobs/{_whole(client, job)}/cancel")
    done(
        "It is being cancelled." if found["state"] == "running" else f"It is {found['state']}.", found, as_json=as_json
    )


def _retry(
    job: JobId,
    replay: Annotated[bool, typer.Option("--replay", help="From the recorded replies: no model, no cost.")] = False,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        found = client.post(f"jobs/{_whole(client, job)}/retry", {"mode": "replay" if replay else "run"})
        _say_who_works(client)
    done(found["id"], found, as_json=as_json)


def _fork(
    job: JobId,
    before_turn: Annotated[int, typer.Option(min=1, help="What was finished before this turn is taken over.")],
    task: Annotated[str | None, typer.Option(help="Another task.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model.")] = None,
    cost_usd: CostUsd = None,
    turns: Turns = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    changes = {"task": task, "model": model, "limits": _limits(cost_usd, turns, timeout) or None}
    body: dict[str, Any] = {"before_turn": before_turn}
    body |= {name: value for name, value in changes.items() if value is not None}
    with connected() as client:
        found = client.post(f"jobs/{_whole(client, job)}/fork", body)
        _say_who_works(client)
    done(found["id"], found, as_json=as_json)


def _follow(client: Client, job_id: str, *, as_json: bool, verbose: bool) -> int:
    screen = Screen(sys.stderr if as_json else sys.stdout, verbose=verbose)
    with screen.telling():
        for event in client.events(job_id):
            screen.event(event)
    found = client.get(f"jobs/{job_id}")
    if as_json:
        show_json(found)
    else:
        following = [f"shopfloor job diff {job_id} | git apply"] if found["changes"] else []
        tell_end(screen, found, client.bytes_of(f"jobs/{job_id}/diff"), following=following)
    return exit_code_of_job(found) if found["state"] in _ENDED else 0


def _whole(client: Client, job: str) -> str:
    """The id that begins like this, among the newest. Raises: InvalidInput when several do."""
    if len(job) >= len("00000000-0000-0000-0000-000000000000") or len(job) < _SHORTEST:
        return quote(job, safe="")
    found = [each["id"] for each in client.items("jobs", most=200) if each["id"].startswith(job)]
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} jobs begin with {job}: write more of the id.")
    return found[0] if found else quote(job, safe="")


def _limits(cost_usd: str | None, turns: int | None, timeout_s: int | None) -> dict[str, str | int]:
    given = {"cost_usd": cost_usd, "turns": turns, "timeout_s": timeout_s}
    return {name: value for name, value in given.items() if value is not None}


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"{text!r} is no label: write NAME=VALUE.")
    return name, value


def _say_who_works(client: Client) -> None:
    if client.local:
        note("No server is up: nothing works on queued jobs until `shopfloor up` or `shopfloor worker` is started.")
