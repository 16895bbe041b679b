"""`shopfloor provider`: model providers and their keys. A key is never an argument: other users could see it."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.client import Client, Json, connected
from shopfloor.apps.cli.failures import FAILED
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_json, show_list, show_one
from shopfloor.apps.cli.terminal import is_terminal
from shopfloor.base.errors import InvalidInput, NotFound

Name = Annotated[str, typer.Argument(metavar="PROVIDER", help="Its name.", show_default=False)]

_KINDS = (
    "anthropic", "bedrock", "google", "groq", "mistral", "mock", "openai", "openai-compatible", "openrouter", "xai",
)  # fmt: skip
_KEYLESS = {"openai-compatible", "mock"}
_COLUMNS: list[Column] = [
    ("name", "name"), ("kind", "kind"), ("base url", "base_url"), ("key set", "key_set"), ("from", "origin"),
    ("health", "health"),
    ("id", "id"),
]  # fmt: skip
_HEALTH: list[Column] = [
    ("model", "model"), ("state", "state"), ("since", "since"), ("until", "open_until"), ("calls", "calls"),
    ("failed", "failures"), ("last failure", "last_failure.detail"),
]  # fmt: skip
_LIMITS: list[Column] = [
    ("at a time", "concurrency"), ("requests a minute", "requests_per_minute"),
    ("tokens a minute", "tokens_per_minute"),
]  # fmt: skip
_TEST: list[Column] = [("ok", "ok"), ("model", "model"), ("seconds", "latency_s"), ("tokens", "total_tokens")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    provider = typer.Typer(help="Model providers: list, add, remove, test, health, limits.", no_args_is_help=True)
    provider.command("list", help="By name, without keys.")(_list)
    provider.command("add", help="Add one; its key is stored encrypted and never shown again.")(_add)
    provider.command("remove", help="Remove one and its key.")(_remove)
    provider.command("test", help="Try its key and address, and a model if one is named.")(_test)
    provider.command("health", help="Which of its models are called, and which are left alone because they failed.")(
        _health
    )
    provider.command("limits", help="How many calls at once, and how much in a minute, over all workers.")(_limits)
    app.add_typer(provider, name="provider")


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("providers", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no providers yet: shopfloor provider add anthropic")


def _add(
    name: Annotated[str, typer.Argument(help="The first half of provider/model, e.g. anthropic.")],
    kind: Annotated[str | None, typer.Option(help=f"{', '.join(_KINDS)}. Default: the name, if it is one.")] = None,
    key_from: Annotated[str | None, typer.Option(metavar="VARIABLE", help="Take the key from this variable.")] = None,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input.")] = False,
    base_url: Annotated[str | None, typer.Option(help="For a server of one's own, /v1 included.")] = None,
    region: Annotated[str | None, typer.Option(help="For bedrock.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model may be used; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    kind = kind or (name if name in _KINDS else None)
    if kind is None:
        raise InvalidInput(f"Say what {name} is: --kind {', '.join(_KINDS)}.")
    body: Json = {"name": name, "kind": kind}
    key = _key(name, kind, variable=key_from, from_stdin=key_stdin)
    optional = {"api_key": key, "base_url": base_url, "region": region, "models": model}
    body |= {field: value for field, value in optional.items() if value}
    with connected() as client:
        made = client.post("providers", body)
    done(f"Added {made['name']}. Try it: shopfloor provider test {made['name']}", made, as_json=as_json)


def _remove(provider: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        found = _named(client, provider)
        client.send("DELETE", f"providers/{found['id']}")
    done(f"Removed {provider} and its key.", {"removed": found["id"]}, as_json=as_json)


def _test(
    provider: Name,
    model: Annotated[str | None, typer.Option(help="Send one short message to it, at its price.")] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        found = client.post(f"providers/{_named(client, provider)['id']}/test", {"model": model} if model else {})
    show_one(found, [*_TEST, ("error", "error.detail")] if found["error"] else _TEST, as_json=as_json)
    raise typer.Exit(0 if found["ok"] else FAILED)


def _health(provider: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"providers/{_named(client, provider)['id']}/health")
    if as_json:
        show_json(found)
    else:
        show_list(found["breakers"], _HEALTH, as_json=False, none=f"No model of {provider} was called yet.")
    raise typer.Exit(0 if found["status"] == "ok" else FAILED)


def _limits(
    provider: Name,
    concurrency: Annotated[int | None, typer.Option(help="Calls at a time; 0: no limit.", min=0)] = None,
    requests: Annotated[int | None, typer.Option(help="Requests a minute; 0: no limit.", min=0)] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens a minute; 0: no limit.", min=0)] = None,
    as_json: AsJson = False,
) -> None:
    given = {"concurrency": concurrency, "requests_per_minute": requests, "tokens_per_minute": tokens}
    with connected() as client:
        found = _named(client, provider)
        if any(value is not None for value in given.values()):
            limits = {name: found["limits"][name] if value is None else value or None for name, value in given.items()}
            found = client.send("PATCH", f"providers/{found['id']}", body={"limits": limits})
    show_one(found["limits"], _LIMITS, as_json=as_json)


def _named(client: Client, name: str) -> dict[str, Any]:
    for each in client.items("providers", most=1_000):
        if name in {each["name"], each["id"]}:
            return each
    raise NotFound(f"There is no provider {name!r}. `shopfloor provider list` shows what there is.")


def _key(name: str, kind: str, *, variable: str | None, from_stdin: bool) -> str | None:
    """The key, from wherever it was said to be. Raises: InvalidInput."""
    if variable is not None:
        key = os.environ.get(variable)
        if not key:
            raise InvalidInput(f"The variable {variable} is not set: export {variable}=... first.")
        return key
    if from_stdin:
        return sys.stdin.readline().strip() or None
    if kind in _KEYLESS:
        return None
    if not is_terminal(sys.stdin):
        raise InvalidInput("Name where the key is: --key-from VARIABLE or --key-stdin.")
    return getpass.getpass(f"Key of {name}: ").strip() or None
