"""`shopfloor artifact`: what jobs left behind."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_list
from shopfloor.base.errors import Conflict

_COLUMNS: list[Column] = [
    ("id", "id"), ("name", "name"), ("bytes", "size_bytes"), ("type", "media_type"), ("created", "created_at"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    artifact = typer.Typer(help="What jobs left behind: list, download.", no_args_is_help=True)
    artifact.command("list", help="Of one job, oldest first.")(_list)
    artifact.command("download", help="Into a file, or - for standard output.")(_download)
    app.add_typer(artifact, name="artifact")


def _list(job: Annotated[str, typer.Argument(metavar="JOB")], limit: Limit = 50, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items(f"jobs/{quote(job, safe='')}/artifacts", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="It left nothing behind.")


def _download(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="Its id.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; default: its name, in this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    path = f"artifacts/{quote(artifact, safe='')}"
    with connected() as client:
        found = client.get(path)
        content = client.bytes_of(f"{path}/content")
    if output is not None and str(output) == "-":
        sys.stdout.buffer.write(content)
        return
    target = output or Path(_file_name(found["name"]) or artifact)
    try:
        with target.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise Conflict(f"{target} is there already: name another file with --output.") from None
    done(f"Wrote {len(content):,} bytes to {target}.", found | {"file": str(target)}, as_json=as_json)


def _file_name(name: str) -> str:
    """The last part of an agent's name for it: no folder, no hidden file."""
    return PurePosixPath(name.replace("\\", "/")).name.lstrip(".")
