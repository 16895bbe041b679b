"""`shopfloor sprint`: stretches of time with a goal."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.output import AsJson, Column
from shopfloor.apps.cli.records import Of, OfAny, add_noun, change, make
from shopfloor.apps.cli.who import given

Goal = Annotated[str | None, typer.Option(help="What is to be reached.")]

_COLUMNS: list[Column] = [
    ("name", "name"), ("starts", "starts"), ("ends", "ends"), ("goal", "goal"), ("project", "project_id"), ("id", "id"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    add_noun(app, "sprint", _COLUMNS, "Stretches of time with a goal.", create=_create, edit=_edit)


def _create(
    name: str,
    starts: Annotated[str, typer.Option(metavar="DATE", help="First day: 2026-03-02.")],
    ends: Annotated[str, typer.Option(metavar="DATE", help="Last day.")],
    project: Of = "default",
    goal: Goal = None,
    as_json: AsJson = False,
) -> None:
    make("sprint", project, {"name": name, "starts": starts, "ends": ends, **given(goal=goal)}, as_json=as_json)


def _edit(
    sprint: str,
    project: OfAny = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    starts: Annotated[str | None, typer.Option(metavar="DATE", help="First day.")] = None,
    ends: Annotated[str | None, typer.Option(metavar="DATE", help="Last day.")] = None,
    goal: Goal = None,
    as_json: AsJson = False,
) -> None:
    change("sprint", sprint, project, given(name=name, starts=starts, ends=ends, goal=goal), as_json=as_json)
