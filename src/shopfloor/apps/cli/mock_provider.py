"""`shopfloor mock-provider`: a model provider of one's own that answers from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mock-provider", help="A model provider that answers from a scenario file, over real HTTP.")(_mock)


def _mock(
    scenario: Annotated[str, typer.Option(help="A built-in name (default, demo) or a YAML file.")] = "default",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8399,
    bill: Annotated[Path | None, typer.Option(help="Append one JSON line for each request.")] = None,
) -> None:
    from shopfloor.testing.mock_provider import run_server

    run_server(scenario, host=host, port=port, bill_path=bill)
