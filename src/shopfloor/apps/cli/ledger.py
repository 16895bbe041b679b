"""`shopfloor ledger`: whether the books add up."""

from __future__ import annotations

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.failures import FAILED
from shopfloor.apps.cli.output import AsJson, show_json
from shopfloor.apps.cli.terminal import printable


def register(app: typer.Typer) -> None:
    """Add the noun."""
    ledger = typer.Typer(help="The ledger of every nano-dollar held, spent or corrected.", no_args_is_help=True)
    ledger.callback()(lambda: None)
    ledger.command("check", help="Whether holds, budgets, jobs and entries agree; exit code 1 if not.")(_check)
    app.add_typer(ledger, name="ledger")


def _check(as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get("ledger/check")
    if as_json:
        show_json(found)
    elif found["adds_up"]:
        print("Everything adds up.")
    else:
        for sentence in found["wrong"]:
            print(printable(sentence))
    if not found["adds_up"]:
        raise typer.Exit(FAILED)
