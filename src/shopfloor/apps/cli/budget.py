"""`shopfloor budget`: what may be spent, by whom, in which time; more for a while; alerts and summaries."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.client import Json, connected
from shopfloor.apps.cli.key import duration_of
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_json, show_list, show_one
from shopfloor.apps.cli.terminal import printable
from shopfloor.apps.cli.who import given, path_of
from shopfloor.base.errors import InvalidInput

BudgetId = Annotated[str, typer.Argument(metavar="BUDGET", help="Its id: `shopfloor budget list` shows it.")]
Usd = Annotated[str | None, typer.Option(metavar="USD", help="What may be spent in each period, e.g. 250.00.")]
Zone = Annotated[str | None, typer.Option(help="Where its days begin, e.g. Europe/Berlin.")]
Threshold = Annotated[
    list[int] | None, typer.Option("--alert-at", metavar="PER_CENT", help="Alert there; may be repeated.")
]
Hard = Annotated[bool | None, typer.Option("--hard/--soft", help="A soft one alerts, and refuses nothing.")]
AutoPause = Annotated[
    bool | None, typer.Option("--auto-pause/--no-auto-pause", help="Pause the scope when nothing is left.")
]


class Period(StrEnum):
    """How long the limit lasts."""

    day = "day"
    week = "week"
    month = "month"
    total = "total"


_COLUMNS: list[Column] = [
    ("scope", "scope.type"), ("name", "scope.name"), ("period", "period"), ("limit usd", "limit_usd"),
    ("raised", "raised_usd"), ("spent", "spent_usd"), ("held", "held_usd"), ("left", "left_usd"), ("%", "percent"),
    ("paused", "paused"), ("id", "id"),
]  # fmt: skip
_VIEW: list[Column] = [
    *_COLUMNS, ("hard", "hard"), ("alerts at", "alerts_at"), ("time zone", "time_zone"),
    ("since", "period_starts_at"), ("renews", "period_ends_at"), ("of unknown fate", "unknown_usd"),
    ("what to do", "paused_because.what_to_do"), ("month: expected", "forecast.expected_usd"),
    ("month: at least", "forecast.low_usd"), ("month: at most", "forecast.high_usd"),
    ("month: a day", "forecast.daily_usd"), ("limit reached", "forecast.limit_reached_at"),
]  # fmt: skip
_RAISES: list[Column] = [
    ("usd", "amount_usd"), ("until", "expires_at"), ("ended", "ended_at"), ("reason", "reason"), ("id", "id"),
]  # fmt: skip
_ALERTS: list[Column] = [
    ("at", "created_at"), ("%", "threshold"), ("spent", "spent_usd"), ("limit", "limit_usd"), ("budget", "budget_id"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    budget = typer.Typer(help="Budgets: what may be spent, raises, alerts, summaries.", no_args_is_help=True)
    budget.command("create", help="Set one. What was spent in the present period counts from the start.")(_create)
    budget.command("list", help="And how they stand, oldest first.")(_list)
    budget.command("view", help="One, with the forecast of the month and why it is paused.")(_view)
    budget.command("edit", help="Change it; what isn't named stays. Jobs that wait look again at once.")(_edit)
    budget.command("delete", help="Nothing is refused for it any more.")(_delete)
    budget.command("raise", help="More money for a while.")(_raise)
    budget.command("resume", help="End a pause by hand.")(_resume)
    budget.command("raises", help="Newest first, those that are over included.")(_raises)
    budget.command("end-raise", help="End a raise early.")(_end_raise)
    budget.command("alerts", help="Thresholds that were reached, newest first.")(_alerts)
    budget.command("summary", help="What the last day or week came to, as it is mailed.")(_summary)
    app.add_typer(budget, name="budget")


def _create(  # noqa: PLR0917 - Typer reads options off the signature
    limit: Annotated[str, typer.Option(metavar="USD", help="What may be spent in each period, e.g. 250.00.")],
    period: Annotated[Period, typer.Option(help="Weeks begin on Monday; total: once and for all.")] = Period.month,
    project: Annotated[str | None, typer.Option(help="Slug or id.")] = None,
    team: Annotated[str | None, typer.Option(help="Slug or id.")] = None,
    user: Annotated[str | None, typer.Option(help="E-mail address or id.")] = None,
    agent: Annotated[str | None, typer.Option(help="Its name.")] = None,
    soft: Annotated[bool, typer.Option("--soft", help="It alerts, and refuses nothing.")] = False,
    time_zone: Zone = None,
    alert_at: Threshold = None,
    auto_pause: AutoPause = None,
    as_json: AsJson = False,
) -> None:
    scopes = given(project=project, team=team, user=user, agent=agent)
    if len(scopes) > 1:
        raise InvalidInput(
            "A budget is for one thing: name one of --project, --team, --user, --agent, or none of them."
        )
    kind, name = next(iter(scopes.items()), ("organization", None))
    body: Json = {"scope": {"type": kind, **given(id=name)}, "period": period.value, "limit_usd": limit}
    body |= {"hard": not soft, **given(time_zone=time_zone, thresholds=alert_at, auto_pause=auto_pause)}
    with connected() as client:
        made = client.post("budgets", body)
    spent = f"{made['spent_usd']} USD of it is spent already"
    done(f"Set {made['id']}: {made['limit_usd']} USD a {period.value}; {spent}.", made, as_json=as_json)


def _list(
    scope: Annotated[str | None, typer.Option(help="Only of: organization, team, project, user, agent.")] = None,
    paused: Annotated[bool | None, typer.Option("--paused/--not-paused", help="Only those.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        rows = client.items("budgets", most=limit, scope=scope, paused=paused)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no budgets: shopfloor budget create --limit 100.00")


def _view(budget: BudgetId, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"budgets/{path_of(budget)}")
    if not as_json:
        found["alerts_at"] = ", ".join(f"{each} %" for each in found["thresholds"])
        if not found["forecast"]["confident"]:
            note("The forecast has fewer than three days behind it.")
    show_one(found, _VIEW, as_json=as_json)


def _edit(
    budget: BudgetId,
    limit: Usd = None,
    hard: Hard = None,
    time_zone: Zone = None,
    alert_at: Threshold = None,
    auto_pause: AutoPause = None,
    as_json: AsJson = False,
) -> None:
    change = given(limit_usd=limit, hard=hard, time_zone=time_zone, thresholds=alert_at, auto_pause=auto_pause)
    if not change:
        raise InvalidInput("Name what is to change: `shopfloor budget edit --help` lists it.")
    with connected() as client:
        _, etag = client.read(f"budgets/{path_of(budget)}")
        changed = client.send("PATCH", f"budgets/{path_of(budget)}", body=change, headers={"If-Match": etag})
    done(f"Changed {changed['id']}: {changed['left_usd']} USD left.", changed, as_json=as_json)


def _delete(budget: BudgetId, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"budgets/{path_of(budget)}")
    done(f"Removed {budget}.", {"removed": budget}, as_json=as_json)


def _raise(
    budget: BudgetId,
    amount: Annotated[str, typer.Argument(metavar="USD", help="How much more, e.g. 50.00.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    for_: Annotated[str, typer.Option("--for", help="How long: 12h, 3d.")] = "24h",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key gives the same raise for 24 hours.")] = None,
    as_json: AsJson = False,
) -> None:
    expires = (datetime.now(UTC) + duration_of(for_)).isoformat()
    body: Json = {"amount_usd": amount, "reason": reason, "expires_at": expires}
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with connected() as client:
        made = client.post(f"budgets/{path_of(budget)}/raises", body, **headers)
    done(f"Raised by {made['amount_usd']} USD until {made['expires_at']}: {made['id']}.", made, as_json=as_json)


def _resume(budget: BudgetId, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.post(f"budgets/{path_of(budget)}/resume")
    done(f"{budget} is paused no longer.", found, as_json=as_json)


def _raises(budget: BudgetId, limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items(f"budgets/{path_of(budget)}/raises", most=limit)
    show_list(rows, _RAISES, as_json=as_json, none="It was never raised.")


def _end_raise(
    budget: BudgetId,
    raise_id: Annotated[str, typer.Argument(metavar="RAISE", help="Its id: `shopfloor budget raises`.")],
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        ended = client.post(f"budgets/{path_of(budget)}/raises/{path_of(raise_id)}/end")
    done(f"Ended the raise {raise_id}.", ended, as_json=as_json)


def _alerts(
    budget: Annotated[str | None, typer.Argument(metavar="[BUDGET]", help="Only of this one.")] = None,
    limit: Limit = 30,
    as_json: AsJson = False,
) -> None:
    path = "budgets/alerts" if budget is None else f"budgets/{path_of(budget)}/alerts"
    with connected() as client:
        rows = client.items(path, most=limit)
    show_list(rows, _ALERTS, as_json=as_json, none="No threshold was reached.")


def _summary(
    weekly: Annotated[bool, typer.Option("--weekly", help="Of the last Monday to Sunday; default: yesterday.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Say so: nothing is mailed by this command.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the mail's HTML into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        found: dict[str, Any] = client.get(f"notifications/summaries/{'weekly' if weekly else 'daily'}")
    if html is not None:
        html.write_text(found["html"], encoding="utf-8")
        note(f"Wrote {html}.")
    if as_json:
        show_json(found)
        return
    if preview:
        note("A preview: nothing is mailed.")
    print(printable(f"{found['subject']}\n\n{found['text']}"))
