"""`shopfloor key`: keys for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list

_COLUMNS: list[Column] = [
    ("id", "id"), ("name", "name"), ("key", "public_id"), ("permissions", "permissions"), ("created", "created_at"),
    ("last used", "last_used_at"), ("expires", "expires_at"), ("revoked", "revoked_at"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    key = typer.Typer(help="API keys: list, create, revoke.", no_args_is_help=True)
    key.command("list", help="Without their secrets; revoked ones too.")(_list)
    key.command("create", help="Make a key; it is printed this once, alone on standard output.")(_create)
    key.command("revoke", help="From now on no request passes with it.")(_revoke)
    app.add_typer(key, name="key")


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("api-keys", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no keys.")


def _create(
    name: Annotated[str, typer.Argument(help="For people: who or what uses it.")],
    permission: Annotated[
        list[str] | None,
        typer.Option("--permission", "-p", help="E.g. job.submit; may be repeated. Default: all yours."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="How long it holds; default: until revoked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        wanted = permission or client.get("me/permissions")["permissions"]
        body: dict[str, Any] = {"name": name, "permissions": wanted}
        if days is not None:
            body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
        made = client.post("api-keys", body)
    if not as_json:
        note("Keep it now: it is shown this once.")
    done(made["key"], made, as_json=as_json)


def _revoke(key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id.")], as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"api-keys/{quote(key_id, safe='')}")
    done(f"Revoked {key_id}.", {"revoked": key_id}, as_json=as_json)
