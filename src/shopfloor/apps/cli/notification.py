"""`shopfloor notification`: what the platform told, and the channels it goes over."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from shopfloor.apps.cli.client import Json, connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list
from shopfloor.apps.cli.who import given, path_of
from shopfloor.base.errors import InvalidInput

ChannelId = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its id: `shopfloor notification channel list`.")]
Event = Annotated[
    list[str] | None,
    typer.Option("--event", help="budget.alert, approval.asked, ...; may be repeated. Default: all of them."),
]

_EVERY = ["budget.alert", "budget.paused", "budget.resumed", "approval.asked", "deadletter.added"]
_COLUMNS: list[Column] = [
    ("at", "created_at"), ("kind", "kind"), ("title", "title"), ("read", "read_at"), ("id", "id"),
]  # fmt: skip
_CHANNELS: list[Column] = [
    ("kind", "kind"), ("to", "address"), ("events", "events"), ("summaries", "summaries"), ("on", "enabled"),
    ("why off", "disabled_because"), ("id", "id"),
]  # fmt: skip
_DELIVERIES: list[Column] = [
    ("at", "created_at"), ("state", "state"), ("attempts", "attempts"), ("answer", "last_status"),
    ("error", "last_error"), ("id", "id"),
]  # fmt: skip


class Summaries(StrEnum):
    """How often a summary is mailed."""

    daily = "daily"
    weekly = "weekly"
    none = "none"


def register(app: typer.Typer) -> None:
    """Add the noun."""
    notification = typer.Typer(help="What the platform told, and where it tells it.", no_args_is_help=True)
    notification.command("list", help="Newest first.")(_list)
    channel = typer.Typer(help="E-mail addresses and webhooks.", no_args_is_help=True)
    channel.command("list", help="Oldest first.")(_channels)
    channel.command("add", help="Send notifications to an address or a webhook.")(_add)
    channel.command("edit", help="Other events or summaries; on or off.")(_edit)
    channel.command("remove", help="And the log of its deliveries.")(_remove)
    channel.command("test", help="Send a test message.")(_test)
    channel.command("deliveries", help="What went over it and how that went, newest first.")(_deliveries)
    channel.command("redeliver", help="Send something once more.")(_redeliver)
    channel.command("rotate-secret", help="A webhook's new secret, printed this once.")(_rotate)
    notification.add_typer(channel, name="channel")
    app.add_typer(notification, name="notification")


def _list(
    unread: Annotated[bool, typer.Option("--unread", help="Only those you have not read on the page.")] = False,
    limit: Limit = 30,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        rows = client.items("notifications", most=limit, unread=True if unread else None)
    show_list(rows, _COLUMNS, as_json=as_json, none="Nothing was told.")


def _channels(limit: Limit = 100, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("notifications/channels", most=limit)
    show_list(rows, _CHANNELS, as_json=as_json, none="There are no channels: shopfloor notification channel add ...")


def _add(
    email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Mails go there.")] = None,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Signed messages go there.")] = None,
    event: Event = None,
    summaries: Annotated[Summaries, typer.Option(help="Of what was spent; by mail only.")] = Summaries.none,
    as_json: AsJson = False,
) -> None:
    if (email is None) == (webhook is None):
        raise InvalidInput("Say where to: either --email ADDRESS or --webhook URL.")
    body: Json = {"kind": "email" if email else "webhook", "events": _EVERY if event is None else event}
    body |= given(address=email, url=webhook)
    if summaries is not Summaries.none:
        body["summaries"] = summaries.value
    with connected() as client:
        made = client.post("notifications/channels", body)
    if made["secret"] and not as_json:
        note("Its messages are signed with this secret. Keep it now: it is shown this once.")
    done(made["secret"] or f"Added {made['id']}.", made, as_json=as_json)


def _edit(
    channel: ChannelId,
    event: Event = None,
    summaries: Annotated[Summaries | None, typer.Option(help="Of what was spent; by mail only.")] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Whether anything goes over it.")] = None,
    as_json: AsJson = False,
) -> None:
    change = given(events=event, enabled=on)
    if summaries is not None:
        change["summaries"] = None if summaries is Summaries.none else summaries.value
    if not change:
        raise InvalidInput("Name what is to change: --event, --summaries, --on or --off.")
    with connected() as client:
        changed = client.send("PATCH", f"notifications/channels/{path_of(channel)}", body=change)
    done(f"Changed {changed['id']}.", changed, as_json=as_json)


def _remove(channel: ChannelId, as_json: AsJson = False) -> None:
    with connected() as client:
        client.send("DELETE", f"notifications/channels/{path_of(channel)}")
    done(f"Removed {channel}.", {"removed": channel}, as_json=as_json)


def _test(channel: ChannelId, as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post(f"notifications/channels/{path_of(channel)}/test")
    done(f"A test is on its way: shopfloor notification channel deliveries {channel}", made, as_json=as_json)


def _deliveries(channel: ChannelId, limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items(f"notifications/channels/{path_of(channel)}/deliveries", most=limit)
    show_list(rows, _DELIVERIES, as_json=as_json, none="Nothing went over it yet.")


def _redeliver(
    channel: ChannelId,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id.")],
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        made = client.post(f"notifications/channels/{path_of(channel)}/deliveries/{path_of(delivery)}/redeliver")
    done("It is on its way once more.", made, as_json=as_json)


def _rotate(channel: ChannelId, as_json: AsJson = False) -> None:
    with connected() as client:
        made = client.post(f"notifications/channels/{path_of(channel)}/rotate-secret")
    if not as_json:
        note("Keep it now: it is shown this once. The one before signs nothing any more.")
    done(made["secret"], made, as_json=as_json)
