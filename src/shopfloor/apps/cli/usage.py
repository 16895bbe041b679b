"""`shopfloor usage`: what was used and what it cost, call by call or added up, and what a job will cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from shopfloor.apps.cli.client import Json, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_json, show_list, show_one
from shopfloor.base.errors import Conflict
from shopfloor.base.money import format_usd

By = Annotated[
    list[str],
    typer.Option("--by", "-b", help="day, week, month, project, team, user, agent, provider, model, label:NAME."),
]
From = Annotated[str | None, typer.Option("--from", help="The first day: 2026-11-01. Default: the month's first.")]
To = Annotated[str | None, typer.Option("--to", help="The last day, included. Default: today.")]
Project = Annotated[str | None, typer.Option(help="Only of this project: id or slug.")]

_KEYS: dict[str, Column] = {
    "day": ("day", "day"), "week": ("week of", "day"), "month": ("month of", "day"), "project": ("project", "name"),
    "team": ("team", "team_id"), "user": ("user", "user_id"), "agent": ("agent", "agent"),
    "provider": ("provider", "provider"), "model": ("model", "model"),
}  # fmt: skip
_SUMS: list[Column] = [
    ("cost usd", "cost_usd"), ("calls", "calls"), ("input", "input_tokens"), ("cached", "cache_read_tokens"),
    ("output", "output_tokens"), ("reasoning", "reasoning_tokens"), ("unknown nanos", "unknown_nanos"),
]  # fmt: skip
_ESTIMATE: list[Column] = [
    ("from", "level"), ("jobs", "samples"), ("usd, half", "cost_usd.p50"), ("usd, nine of ten", "cost_usd.p90"),
    ("tokens, half", "tokens.p50"), ("tokens, nine of ten", "tokens.p90"), ("seconds, half", "duration_s.p50"),
    ("seconds, nine of ten", "duration_s.p90"), ("tried on jobs", "calibration.tested"),
    ("half held", "calibration.p50_held"), ("nine of ten held", "calibration.p90_held"),
]  # fmt: skip
_DIFFERENCES: list[Column] = [
    ("day", "day"), ("project", "project_id"), ("agent", "agent"), ("provider", "provider"), ("model", "model"),
    ("calls", "calls"), ("nanos", "cost_nanos"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    usage = typer.Typer(help="What was used: report, export, estimate, check, rebuild.", no_args_is_help=True)
    usage.command("report", help="Sums of some days, the dearest first.")(_report)
    usage.command("export", help="Every call and correction of some days, into a file.")(_export)
    usage.command("estimate", help="What a job will cost, from similar ones, and how well that has held.")(_estimate)
    usage.command("check", help="Compare the sums with the ledger; leaves with 1 if they differ.")(_check)
    usage.command("rebuild", help="Make the sums anew from the ledger: once, after the time zone changed.")(_rebuild)
    app.add_typer(usage, name="usage")


def _report(  # noqa: PLR0917 - each is one option
    by: By = [],  # noqa: B006 - Typer copies it
    first: From = None,
    last: To = None,
    project: Project = None,
    team: Annotated[str | None, typer.Option(help="Its id.")] = None,
    user: Annotated[str | None, typer.Option(help="Its id.")] = None,
    agent: Annotated[str | None, typer.Option()] = None,
    provider: Annotated[str | None, typer.Option()] = None,
    model: Annotated[str | None, typer.Option()] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME=VALUE")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    keys = [key for each in by for key in each.split(",")]
    query: Json = {
        "group_by": ",".join(keys) or None, "from": first, "to": last, "project": project, "team": team, "user": user,
        "agent": agent, "provider": provider, "model": model, "label": label,
    }  # fmt: skip
    with connected() as client:
        rows = client.items("usage", most=limit, **query)
        whole = client.get("usage", **query, limit=1)
    if as_json:
        show_json(whole | {"items": rows, "next_cursor": None})
        return
    columns = [_KEYS.get(key, (key.removeprefix("label:"), "label")) for key in keys]
    show_list(rows, [*columns, *_SUMS], as_json=False, none="Nothing was used on these days.")
    total = whole["total"]
    note(
        f"{whole['first']} to {whole['last']} ({whole['time_zone']}): {format_usd(total['cost_nanos'])} in all, "
        f"{total['calls']:,} calls."
    )


def _export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="To write; it must not be there yet.")],
    form: Annotated[str, typer.Option("--format", help="csv, json, parquet, or focus (FOCUS 1.2 as CSV).")] = "csv",
    first: From = None,
    last: To = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    asked = {"format": form, "from": first, "to": last, "project": project}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    try:
        with output.open("xb") as file, connected() as client:
            size = client.copy(f"usage/export?{query}", file)
    except FileExistsError:
        raise Conflict(f"{output} is there already: name another file.") from None
    except BaseException:
        output.unlink(missing_ok=True)  # half an export would look like a cheap month
        raise
    done(f"Wrote {size:,} bytes to {output}.", {"file": str(output), "size_bytes": size}, as_json=as_json)


def _estimate(
    project: Annotated[str | None, typer.Option(help="Id or slug.")] = None,
    agent: Annotated[str | None, typer.Option()] = None,
    model: Annotated[str | None, typer.Option(help="provider/model")] = None,
    task: Annotated[str | None, typer.Option(help="The task's text: jobs of like length count most.")] = None,
    as_json: AsJson = False,
) -> None:
    chars = None if task is None else len(task)
    with connected() as client:
        found = client.get("usage/estimate", project=project, agent=agent, model=model, task_chars=chars)
    if found["level"] == "none" and not as_json:
        note("No job has ended yet that an estimate could be made from.")
    show_one(found, _ESTIMATE, as_json=as_json)


def _check(as_json: AsJson = False) -> None:
    with connected() as client:
        found: dict[str, Any] = client.get("usage/check")
    if as_json:
        show_json(found)
    else:
        none = f"{found['calls']:,} calls, {format_usd(found['ledger_nanos'])}: the sums are the ledger's."
        show_list(found["differences"], _DIFFERENCES, as_json=False, none=none)
    if not found["ok"]:
        note("The sums are not the ledger's: `shopfloor usage rebuild` makes them anew.")
        raise typer.Exit(1)


def _rebuild(as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post("usage/rebuild")
    done(f"Made {made['rows']:,} sums anew.", made, as_json=as_json)
