"""`shopfloor agent`: who can be given a task, and whether a spec of one's own holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, done, show_list, show_one

_COLUMNS: list[Column] = [
    ("name", "name"), ("version", "version"), ("model", "model"), ("profile", "model_profile"),
    ("read only", "read_only"), ("description", "description"),
]  # fmt: skip
_ALL: list[Column] = [
    *_COLUMNS, ("tools", "tools"), ("delegates", "delegates"), ("limits", "limits"), ("policy", "policy"),
    ("instructions", "instructions"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    agent = typer.Typer(help="Agents: list, view, check a spec.", no_args_is_help=True)
    agent.command("list", help="By name.")(_list)
    agent.command("view", help="One agent, with what it is told.")(_view)
    agent.command("check", help="Whether a spec in a file holds; says what doesn't.")(_check)
    app.add_typer(agent, name="agent")


def _list(as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.get("agents")["items"]
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no agents.")


def _view(name: Annotated[str, typer.Argument(metavar="AGENT")], as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"agents/{quote(name, safe='')}")
    show_one(found, _ALL, as_json=as_json)


def _check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)], as_json: AsJson = False
) -> None:
    from shopfloor.apps.system_api import agent_detail  # the engine's own reading of it; no server is asked
    from shopfloor.engine.agents.spec import load_spec

    found = agent_detail(load_spec(file)).model_dump(mode="json")
    done(f"{file} holds: the agent {found['name']}, version {found['version']}.", found, as_json=as_json)
