"""`shopfloor model`: what a job can name."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, note, show_list

Provider = Annotated[str | None, typer.Option(help="Only of this provider.")]

_MODELS: list[Column] = [
    ("model", "ref"), ("context", "context_tokens"), ("output", "max_output_tokens"), ("priced", "priced"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    model = typer.Typer(help="Models that a job can name.", no_args_is_help=True)
    model.command("list", help="By provider and name.")(_models)
    app.add_typer(model, name="model")


def _models(provider: Provider = None, limit: Limit = 200, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("models", most=limit, provider=provider)
        missing = client.get("models", provider=provider, limit=1)["unavailable"]
    for each in missing:
        note(f"{each['provider']} is missing from the list: {each['detail']}")
    show_list(rows, _MODELS, as_json=as_json, none="No provider lists a model: shopfloor provider add ...")
