"""`shopfloor dead-letter`: what the platform has given up: look, try again, discard."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.client import Client, Json, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list, show_one
from shopfloor.apps.cli.who import path_of
from shopfloor.base.errors import Conflict, InvalidInput

Letters = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which; or --all with a filter.")]
OfKind = Annotated[str | None, typer.Option(metavar="job|task", help="Only these.")]
OfTask = Annotated[str | None, typer.Option("--task", metavar="NAME", help="Only of this task, e.g. mail.send.")]
OfProject = Annotated[str | None, typer.Option("--project", "-P", help="Only of this one: slug or id.")]
All = Annotated[bool, typer.Option("--all", help="Every open one that fits.")]

_COLUMNS: list[Column] = [
    ("id", "id"), ("kind", "kind"), ("task", "task"), ("state", "state"), ("reason", "reason.code"),
    ("attempts", "attempts"), ("job", "job_id"), ("since", "created_at"),
]  # fmt: skip
_ALL: list[Column] = [
    *_COLUMNS, ("project", "project_id"), ("what", "reason.title"), ("why", "reason.detail"), ("payload", "payload"),
    ("requeued as", "requeued_as"), ("settled", "settled_at"), ("discarded because", "discard_reason"),
]  # fmt: skip
_HISTORY: list[Column] = [
    ("attempt", "attempt"), ("at", "at"), ("worker", "worker"), ("what", "error.code"), ("why", "error.detail"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    letter = typer.Typer(help="Jobs and tasks that were given up: look, try again, discard.", no_args_is_help=True)
    letter.command("list", help="Newest first; only open ones unless --settled.")(_list)
    letter.command("view", help="One, with its reason, each attempt and what it was about.")(_view)
    letter.command("requeue", help="Try again: the same, or one of them changed.")(_requeue)
    letter.command("discard", help="Never again, and why.")(_discard)
    app.add_typer(letter, name="dead-letter")


def _list(
    kind: OfKind = None,
    task: OfTask = None,
    project: OfProject = None,
    settled: Annotated[bool, typer.Option("--settled", help="Those that somebody has settled, too.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    filters = {"kind": kind, "task": task, "project": project, "state": None if settled else "open"}
    with connected() as client:
        rows = client.items("dead-letters", most=limit, **_said(filters))
    show_list(rows, _COLUMNS, as_json=as_json, none="Nothing was given up.")


def _view(letter: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"dead-letters/{path_of(letter)}")
    show_one(found, _ALL, as_json=as_json)
    if not as_json:
        show_list(found["history"], _HISTORY, as_json=False, none="No attempt could say what went wrong.")


def _requeue(  # noqa: PLR0917 - each is one option
    letters: Letters = None,
    model: Annotated[str | None, typer.Option(help="Of a job: another model.")] = None,
    max_cost: Annotated[float | None, typer.Option(metavar="USD", help="Of a job: another limit of its cost.")] = None,
    argument: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of a task: another value of an argument.")
    ] = None,
    every: All = False,
    kind: OfKind = None,
    task: OfTask = None,
    project: OfProject = None,
    as_json: AsJson = False,
) -> None:
    limits = {"cost_usd": str(max_cost)} if max_cost is not None else None
    arguments = dict(_pair(text) for text in argument) if argument else None
    change = _said({"model": model, "limits": limits, "arguments": arguments})
    if change and (letters is None or len(letters) != 1):
        raise InvalidInput("Only one letter at a time can be changed: name its id.")
    with connected() as client:
        if letters is not None and len(letters) == 1:
            made = client.post(f"dead-letters/{path_of(letters[0])}/requeue", change)
            done(f"Requeued as {made['requeued_as']}.", made, as_json=as_json)
            return
        _many(client, "requeue", _which(letters, every, _said({"kind": kind, "task": task, "project": project})),
              as_json=as_json)  # fmt: skip


def _discard(
    letters: Letters = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stays on record.")] = "",
    every: All = False,
    kind: OfKind = None,
    task: OfTask = None,
    project: OfProject = None,
    as_json: AsJson = False,
) -> None:
    if not reason:
        raise InvalidInput("Say why, for whoever looks for it later: --reason TEXT.")
    which = _which(letters, every, _said({"kind": kind, "task": task, "project": project}))
    with connected() as client:
        _many(client, "discard", which | {"reason": reason}, as_json=as_json)


def _many(client: Client, verb: str, body: Json, *, as_json: bool) -> None:
    """Batch after batch, while every letter of one could be settled. Raises: Conflict when some were refused."""
    settled: list[Json] = []
    refused: list[Json] = []
    while True:
        answer = client.post(f"dead-letters/{verb}", body)
        settled += answer["done"]
        refused += answer["refused"]
        if not answer["more"] or answer["refused"]:
            break
    done(f"{verb.capitalize()}: {len(settled)} done, {len(refused)} refused.", {"done": settled, "refused": refused},
         as_json=as_json)  # fmt: skip
    for each in refused:
        note(f"{each['id']}: {each['detail']}")
    if refused:
        raise Conflict(f"{len(refused)} stay as they are.")


def _which(letters: list[str] | None, every: bool, filters: Json) -> Json:
    """Raises: InvalidInput unless ids or --all are given."""
    if bool(letters) == every:
        raise InvalidInput("Name the letters' ids, or --all with --kind, --task or --project.")
    return {"filter": filters} if every else {"ids": letters}


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"Write an argument as NAME=VALUE, not {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _said(given: Json) -> Json:
    return {name: value for name, value in given.items() if value is not None}
