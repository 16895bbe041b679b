"""`shopfloor key`: keys for programs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list
from shopfloor.base.errors import InvalidInput

_COLUMNS: list[Column] = [
    ("id", "id"), ("name", "name"), ("key", "public_id"), ("permissions", "permissions"), ("created", "created_at"),
    ("last used", "last_used_at"), ("from", "last_used_address"), ("expires", "expires_at"), ("revoked", "revoked_at"),
]  # fmt: skip
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def register(app: typer.Typer) -> None:
    """Add the noun."""
    key = typer.Typer(help="API keys: list, create, rotate, revoke.", no_args_is_help=True)
    key.command("list", help="Without their secrets; revoked ones too.")(_list)
    key.command("create", help="Make a key; it is printed this once, alone on standard output.")(_create)
    key.command("rotate", help="Another secret for a key; the present one stays good for a while.")(_rotate)
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
    expires: Annotated[
        str | None, typer.Option(help="How long it holds: 30d, 12h, 90m; default: until revoked.")
    ] = None,
    ip_range: Annotated[
        list[str] | None, typer.Option("--ip-range", help="It counts from there only, e.g. 192.0.2.0/24; repeatable.")
    ] = None,
    service_account: Annotated[
        str | None, typer.Option("--for", metavar="USER", help="Id of a service account it acts as; default: you.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        wanted = permission or client.get("me/permissions")["permissions"]
        body: dict[str, Any] = {"name": name, "permissions": wanted}
        if expires is not None:
            body["expires_at"] = (datetime.now(UTC) + duration_of(expires)).isoformat()
        body |= {name: value for name, value in (("ip_ranges", ip_range), ("user_id", service_account)) if value}
        made = client.post("api-keys", body)
    if not as_json:
        note("Keep it now: it is shown this once.")
    done(made["key"], made, as_json=as_json)


def _rotate(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id.")],
    overlap: Annotated[str, typer.Option(help="How long the present secret stays good: 24h, 7d, 0s.")] = "24h",
    as_json: AsJson = False,
) -> None:
    body = {"overlap_s": int(duration_of(overlap).total_seconds())}
    with connected() as client:
        made = client.post(f"api-keys/{quote(key_id, safe='')}/rotate", body)
    if not as_json:
        note(f"Keep it now: it is shown this once. The one before is good until {made['previous_until']}.")
    done(made["key"], made, as_json=as_json)


def duration_of(text: str) -> timedelta:
    """`30d`, `12h`, `90m`, `10s`. Raises: InvalidInput."""
    match = re.fullmatch(r"(\d{1,6})([dhms])", text.strip().lower())
    if match is None:
        raise InvalidInput(f"{text!r} is no length of time: write it like 30d, 12h, 90m or 10s.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _revoke(key_id: Annotated[str, typer.Argument(metavar="KEY", help="Its id.")], as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"api-keys/{quote(key_id, safe='')}")
    done(f"Revoked {key_id}.", {"revoked": key_id}, as_json=as_json)
