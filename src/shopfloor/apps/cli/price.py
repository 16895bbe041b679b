"""`shopfloor price`: what models cost, whether that is right, and rating past calls anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.client import Json, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_json, show_list
from shopfloor.base.errors import InvalidInput
from shopfloor.base.money import format_usd

Provider = Annotated[str | None, typer.Option(help="Only of this provider.")]
Model = Annotated[str | None, typer.Option(help="Only of this model.")]
Usd = Annotated[str | None, typer.Option(metavar="USD", help="For a million tokens.")]
MillionCalls = Annotated[str | None, typer.Option(metavar="USD", help="For a million calls.")]

_PRICES: list[Column] = [
    ("provider", "provider"), ("model", "model"), ("tier", "service_tier"), ("region", "region"),
    ("usd a million", "usd_per_million"), ("from", "valid_from"), ("source", "source"),
]  # fmt: skip
_FINDINGS: list[Column] = [("provider", "provider"), ("model", "model"), ("problem", "problem"), ("detail", "detail")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    price = typer.Typer(help="What models cost: list, set, check, rerate.", no_args_is_help=True)
    price.command("list", help="Newest first.")(_list)
    price.command("set", help="Set a model's price from now on; earlier rows stay.")(_set)
    price.command("check", help="Models in use without a price, with one of nothing, or with an old one.")(_check)
    price.command("rerate", help="Rate past calls anew by the prices that hold for their time by now.")(_rerate)
    app.add_typer(price, name="price")
    app.add_typer(price, name="prices", hidden=True)


def _list(provider: Provider = None, model: Model = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("prices", most=limit, provider=provider, model=model)
    show_list(rows, _PRICES, as_json=as_json, none="No price has been set or used yet.")


def _set(  # noqa: PLR0917 - each is one option
    model: Annotated[str, typer.Argument(help="provider/model, or a pattern: 'openai/gpt-5*'")],
    input_usd: Annotated[str | None, typer.Option("--input", metavar="USD", help="For a million tokens.")] = None,
    output: Usd = None,
    cache_read: Usd = None,
    cache_write_5m: Annotated[str | None, typer.Option("--cache-write-5m", metavar="USD")] = None,
    cache_write_1h: Annotated[str | None, typer.Option("--cache-write-1h", metavar="USD")] = None,
    reasoning: Usd = None,
    audio_input: Usd = None,
    audio_output: Usd = None,
    request: MillionCalls = None,
    tool_call: MillionCalls = None,
    times: Annotated[str | None, typer.Option(metavar="FACTOR", help="All that holds, times this: 1.1.")] = None,
    above: Annotated[int | None, typer.Option(metavar="TOKENS", help="Only of calls with more input.")] = None,
    service_tier: Annotated[str | None, typer.Option(help="standard, batch, flex or priority.")] = None,
    region: Annotated[str | None, typer.Option(help="Only in this region of the provider.")] = None,
    valid_from: Annotated[str | None, typer.Option("--from", help="E.g. 2027-01-01T00:00:00Z; default: now.")] = None,
    as_json: AsJson = False,
) -> None:
    provider, slash, name = model.partition("/")
    if not slash or not provider or not name:
        raise InvalidInput(f"{model!r} is no model: write provider/model.")
    asked = {
        "input": input_usd, "output": output, "cache-read": cache_read, "cache-write-5m": cache_write_5m,
        "cache-write-1h": cache_write_1h, "reasoning": reasoning, "audio-input": audio_input,
        "audio-output": audio_output, "request": request, "tool-call": tool_call,
    }  # fmt: skip
    units = {unit: usd for unit, usd in asked.items() if usd is not None}
    if bool(units) == (times is not None):
        raise InvalidInput(
            f"Say what it costs: shopfloor price set {model} --input 3.00 --output 15.00, or --times 1.1"
        )
    where: Json = {
        "above_input_tokens": above, "service_tier": service_tier, "region": region, "valid_from": valid_from,
    }  # fmt: skip
    about = {"provider": provider, "model": name} | {each: value for each, value in where.items() if value is not None}
    bodies: list[Json] = [about | {"unit": unit, "usd_per_million": usd} for unit, usd in units.items()]
    if times is not None:
        bodies = [about | {"times": times}]
    with connected(wanted=[provider]) as client:
        rows = [client.post("prices", body) for body in bodies]
    if as_json:
        show_json(rows[-1])
        return
    done(f"{model} costs {_told(units or rows[-1]['usd_per_million'])}.", rows[-1], as_json=False)


def _check(as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get("prices/check")
    if as_json:
        show_json(found)
    else:
        none = f"{found['models']} models are in use, and each has a price to go by."
        show_list(found["findings"], _FINDINGS, as_json=False, none=none)
    if found["findings"]:
        raise typer.Exit(1)


def _rerate(
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Calls made then or later: 2026-11-01T00:00:00Z.")
    ],
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="Calls made before.")],
    provider: Provider = None,
    model: Annotated[str | None, typer.Option(help="Only of this model of the provider, without its name.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be booked.")] = False,
    as_json: AsJson = False,
) -> None:
    body: Json = {"from": start, "to": until, "dry_run": dry_run}
    body |= {name: value for name, value in (("provider", provider), ("model", model)) if value is not None}
    whole: dict[str, Any] = {"calls": 0, "changed": 0, "delta_nanos": 0, "unpriced": {}}
    with connected() as client:
        while True:
            answer = client.post("prices/rerate", body)
            for name in ("calls", "changed", "delta_nanos"):
                whole[name] += answer[name]
            whole["unpriced"] |= answer["unpriced"]
            if answer["next_cursor"] is None:
                break
            body["cursor"] = answer["next_cursor"]
    for each, why in whole["unpriced"].items():
        note(f"{each} stays as it is: {why}")
    verb = "would be" if dry_run else "were"
    told = (
        f"{whole['changed']} of {whole['calls']} calls {verb} corrected, by {format_usd(whole['delta_nanos'])} in all."
    )
    done(told, whole, as_json=as_json)


def _told(units: Mapping[str, str]) -> str:
    return ", ".join(f"{usd} USD for {unit}" for unit, usd in units.items())
