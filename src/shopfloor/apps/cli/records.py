"""What the commands of environments, releases and sprints have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.client import Client, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_list
from shopfloor.apps.cli.who import path_of
from shopfloor.base.errors import InvalidInput, NotFound
from shopfloor.base.ids import parse_id

Of = Annotated[str, typer.Option("--project", "-P", help="Slug or id.")]
OfAny = Annotated[str | None, typer.Option("--project", "-P", help="Only of this one: slug or id.")]

_JOBS: list[Column] = [
    ("id", "id"),
    ("state", "state"),
    ("agent", "agent"),
    ("task", "task"),
    ("created", "created_at"),
]
_MOST = 10_000


def record_id(client: Client, noun: str, text: str, project: str | None) -> str:
    """Of a record named by id, or by its name in `project`. Raises: NotFound."""
    if parse_id(text) is not None:
        return text
    for each in client.items(f"{noun}s", most=_MOST, project=project or "default"):
        if each["name"] == text:
            return each["id"]
    raise NotFound(f"The project {project or 'default'} has no {noun} {text!r}. `shopfloor {noun} list` shows them.")


def change(noun: str, text: str, project: str | None, fields: dict[str, Any], *, as_json: bool) -> None:
    """PATCH what was named."""
    if not fields:
        raise InvalidInput(f"Name what is to change: `shopfloor {noun} edit --help` lists it.")
    with connected() as client:
        changed = client.send("PATCH", f"{noun}s/{record_id(client, noun, text, project)}", body=fields)
    done(f"Changed the {noun} {changed['name']}.", changed, as_json=as_json)


def make(noun: str, project: str, fields: dict[str, Any], *, as_json: bool) -> None:
    """POST a new one."""
    with connected() as client:
        made = client.post(f"{noun}s", {"project": project, **fields})
    done(f"Made the {noun} {made['name']}.", made, as_json=as_json)


def commands(noun: str, columns: list[Column]) -> dict[str, tuple[Callable[..., None], str]]:
    """`list`, `remove`, `jobs`, `tie` and `untie`, with their help."""

    def list_(project: OfAny = None, limit: Limit = 50, as_json: AsJson = False) -> None:
        with connected() as client:
            rows = client.items(f"{noun}s", most=limit, project=project)
        show_list(rows, columns, as_json=as_json, none=f"There are no {noun}s.")

    def remove(name: str, project: OfAny = None, as_json: AsJson = False) -> None:
        with connected() as client:
            client.send("DELETE", f"{noun}s/{record_id(client, noun, name, project)}")
        done(f"Removed the {noun} {name}.", {"removed": name}, as_json=as_json)

    def jobs(name: str, project: OfAny = None, limit: Limit = 50, as_json: AsJson = False) -> None:
        with connected() as client:
            rows = client.items(f"{noun}s/{record_id(client, noun, name, project)}/jobs", most=limit)
        show_list(rows, _JOBS, as_json=as_json, none="No job belongs to it.")

    def tie(name: str, job: str, project: OfAny = None, as_json: AsJson = False) -> None:
        with connected() as client:
            client.send("PUT", f"{noun}s/{record_id(client, noun, name, project)}/jobs/{path_of(job)}")
        done(f"{job} belongs to {name}.", {noun: name, "job": job}, as_json=as_json)

    def untie(name: str, job: str, project: OfAny = None, as_json: AsJson = False) -> None:
        with connected() as client:
            client.send("DELETE", f"{noun}s/{record_id(client, noun, name, project)}/jobs/{path_of(job)}")
        done(f"{job} no longer belongs to {name}.", {noun: name, "job": job}, as_json=as_json)

    return {
        "list": (list_, "Oldest first."),
        "remove": (remove, "Its jobs stay."),
        "jobs": (jobs, "Which jobs belong to it, newest first."),
        "tie": (tie, "Let a job of the same project belong to it."),
        "untie": (untie, "The job belongs to it no more."),
    }


def add_noun(app: typer.Typer, noun: str, columns: list[Column], about: str, **own: Callable[..., None]) -> None:
    """Add a noun with what all have, and its `own` create and edit."""
    group = typer.Typer(help=about, no_args_is_help=True)
    group.command("create", help="Make one of a project.")(own["create"])
    group.command("edit", help="Change one; what isn't named stays.")(own["edit"])
    for name, (command, text) in commands(noun, columns).items():
        group.command(name, help=text)(command)
    app.add_typer(group, name=noun)
