"""`shopfloor model` and `shopfloor price`: what a job can name, and what it costs."""

from __future__ import annotations

from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_json, show_list
from shopfloor.base.errors import InvalidInput

Provider = Annotated[str | None, typer.Option(help="Only of this provider.")]
Usd = Annotated[str | None, typer.Option(metavar="USD", help="For a million tokens.")]

_MODELS: list[Column] = [
    ("model", "ref"), ("context", "context_tokens"), ("output", "max_output_tokens"), ("priced", "priced"),
]  # fmt: skip
_PRICES: list[Column] = [
    ("provider", "provider"), ("model", "model"), ("usd a million", "usd_per_million"), ("from", "valid_from"),
    ("source", "source"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the nouns."""
    model = typer.Typer(help="Models that a job can name.", no_args_is_help=True)
    model.command("list", help="By provider and name.")(_models)
    app.add_typer(model, name="model")
    price = typer.Typer(help="What models cost.", no_args_is_help=True)
    price.command("list", help="Newest first.")(_prices)
    price.command("set", help="Set a model's price from now on; earlier rows stay.")(_set)
    app.add_typer(price, name="price")
    app.add_typer(price, name="prices", hidden=True)  # error texts of the engine have it in the plural


def _models(provider: Provider = None, limit: Limit = 200, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("models", most=limit, provider=provider)
        missing = client.get("models", provider=provider, limit=1)["unavailable"]
    for each in missing:
        note(f"{each['provider']} is missing from the list: {each['detail']}")
    show_list(rows, _MODELS, as_json=as_json, none="No provider lists a model: shopfloor provider add ...")


def _prices(provider: Provider = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("prices", most=limit, provider=provider)
    show_list(rows, _PRICES, as_json=as_json, none="No price has been set or used yet.")


def _set(
    model: Annotated[str, typer.Argument(help="provider/model")],
    input_usd: Annotated[str | None, typer.Option("--input", metavar="USD", help="For a million tokens.")] = None,
    output: Usd = None,
    cache_read: Usd = None,
    cache_write_5m: Annotated[str | None, typer.Option("--cache-write-5m", metavar="USD")] = None,
    cache_write_1h: Annotated[str | None, typer.Option("--cache-write-1h", metavar="USD")] = None,
    reasoning: Usd = None,
    as_json: AsJson = False,
) -> None:
    provider, slash, name = model.partition("/")
    if not slash or not provider or not name:
        raise InvalidInput(f"{model!r} is no model: write provider/model.")
    asked = {
        "input": input_usd, "output": output, "cache-read": cache_read, "cache-write-5m": cache_write_5m,
        "cache-write-1h": cache_write_1h, "reasoning": reasoning,
    }  # fmt: skip
    units = {unit: usd for unit, usd in asked.items() if usd is not None}
    if not units:
        raise InvalidInput(f"Say what it costs: shopfloor price set {model} --input 3.00 --output 15.00")
    with connected(wanted=[provider]) as client:
        rows = [
            client.post("prices", {"provider": provider, "model": name, "unit": unit, "usd_per_million": usd})
            for unit, usd in units.items()
        ]
    if as_json:
        show_json(rows[-1])
        return
    done(f"{model} costs {', '.join(f'{usd} USD for {unit}' for unit, usd in units.items())}.", rows[-1], as_json=False)
