"""`shopfloor environment`: where projects are deployed to."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.output import AsJson, Column
from shopfloor.apps.cli.records import Of, OfAny, add_noun, change, make
from shopfloor.apps.cli.who import given

Kind = Annotated[str | None, typer.Option(help="dev, staging or production.")]
Protected = Annotated[bool | None, typer.Option("--protected/--open", help="Ask before deploying there.")]

_COLUMNS: list[Column] = [
    ("name", "name"), ("kind", "kind"), ("protected", "protected"), ("project", "project_id"), ("id", "id"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    add_noun(app, "environment", _COLUMNS, "Where projects are deployed to.", create=_create, edit=_edit)


def _create(
    name: str, project: Of = "default", kind: Kind = None, protected: Protected = None, as_json: AsJson = False
) -> None:
    make("environment", project, {"name": name, **given(kind=kind, protected=protected)}, as_json=as_json)


def _edit(
    environment: str,
    project: OfAny = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    kind: Kind = None,
    protected: Protected = None,
    as_json: AsJson = False,
) -> None:
    change("environment", environment, project, given(name=name, kind=kind, protected=protected), as_json=as_json)
