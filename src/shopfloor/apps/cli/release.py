"""`shopfloor release`: versions of a project's software."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.output import AsJson, Column
from shopfloor.apps.cli.records import Of, OfAny, add_noun, change, make
from shopfloor.apps.cli.who import given

Status = Annotated[str | None, typer.Option(help="planned, released or withdrawn.")]
Notes = Annotated[str | None, typer.Option(help="What is new in it.")]

_COLUMNS: list[Column] = [
    ("version", "name"), ("status", "status"), ("project", "project_id"), ("id", "id"), ("created", "created_at"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    add_noun(app, "release", _COLUMNS, "Versions of a project's software.", create=_create, edit=_edit)


def _create(
    version: Annotated[str, typer.Argument(help="E.g. 2.4.0.")],
    project: Of = "default",
    status: Status = None,
    notes: Notes = None,
    as_json: AsJson = False,
) -> None:
    make("release", project, {"name": version, **given(status=status, notes=notes)}, as_json=as_json)


def _edit(
    release: str,
    project: OfAny = None,
    version: Annotated[str | None, typer.Option(help="Another version.")] = None,
    status: Status = None,
    notes: Notes = None,
    as_json: AsJson = False,
) -> None:
    change("release", release, project, given(name=version, status=status, notes=notes), as_json=as_json)
