"""`shopfloor setup-link`, `invite`, `session`, `account`: how people get in, and where they are signed in."""

from __future__ import annotations

import asyncio
import getpass
from typing import Annotated
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list
from shopfloor.apps.cli.sign_in import line_of_stdin
from shopfloor.base.errors import InvalidInput

_SESSIONS: list[Column] = [
    ("id", "id"), ("kind", "kind"), ("by", "methods"), ("from", "address"), ("program", "agent"),
    ("signed in", "signed_in_at"), ("last seen", "last_seen_at"), ("this one", "current"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("setup-link", help="A new one-time link with which this machine's owner sets a password.")(_setup_link)
    app.command("invite", help="Invite somebody to the organization.")(_invite)
    session = typer.Typer(help="Where you are signed in: list, revoke.", no_args_is_help=True)
    session.command("list", help="Oldest first.")(_list)
    session.command("revoke", help="End one of your sessions, or all of them.")(_revoke)
    app.add_typer(session, name="session")
    account = typer.Typer(help="Your own account: its password.", no_args_is_help=True)
    account.command("password", help="Change your own; your other sessions are over.")(_password)
    app.add_typer(account, name="account")


def _setup_link(as_json: AsJson = False) -> None:
    link = asyncio.run(_new_link())
    if not as_json:
        note(
            "Good for 72 hours, once; any before it is void. Paste it into `shopfloor accept`, or POST its token to "
            "/api/v1/auth/setup."
        )
    done(link, {"link": link, "token": link.partition("#")[2]}, as_json=as_json)


async def _new_link() -> str:
    """On this machine's database: whoever may read its data folder owns it anyway."""
    from shopfloor.apps.cli.place import DEFAULT_URL
    from shopfloor.apps.cli.settings import settings_for
    from shopfloor.apps.only_one import running
    from shopfloor.apps.wiring import open_parts
    from shopfloor.domain.accounts.set_up import new_setup_token

    settings = settings_for(quiet=True)
    async with open_parts(settings) as parts:
        token = await new_setup_token(parts.store)
    up = running(settings.home)
    return f"{settings.accounts.public_url or (up.url if up else DEFAULT_URL)}/setup#{token}"


def _invite(
    email: Annotated[str, typer.Argument(help="Whom.")],
    role: Annotated[str, typer.Option(help="What they may do: owner, admin, manager, developer, viewer, auditor.")] = (
        "developer"
    ),
    team: Annotated[
        list[str] | None, typer.Option(help="A team to join with it, by slug or id; several times for several.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        made = client.post("invitations", {"email": email, "role": role} | ({"teams": team} if team else {}))
    if made["link"] is None:
        done(f"Invited {made['email']} as {made['role']}; a mail is on its way.", made, as_json=as_json)
        return
    if not as_json:
        note(
            "No mail server is set, so pass this link on yourself; it is shown this once and holds for 7 days. "
            "`shopfloor accept` takes it."
        )
    done(made["link"], made, as_json=as_json)


def _password(
    from_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read both from standard input, a line each: the present one first."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        has_one = client.get("me/profile")["has_password"]
        present = _present_password(from_stdin=from_stdin) if has_one else None
        new = line_of_stdin("new password") if from_stdin else new_password()
        client.post("auth/password", {"new": new} | ({"present": present} if present else {}))
    done("Changed. Your other sessions are over.", {"changed": True}, as_json=as_json)


def _present_password(*, from_stdin: bool) -> str:
    return line_of_stdin("present password") if from_stdin else getpass.getpass("Present password: ")


def new_password() -> str:
    """Typed twice. Raises: InvalidInput when the two differ."""
    first = getpass.getpass("New password: ")
    if getpass.getpass("Once more: ") != first:
        raise InvalidInput("The two are not the same, so nothing was changed. Type the command again.")
    return first


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("me/sessions", most=limit)
    show_list(rows, _SESSIONS, as_json=as_json, none="You are signed in nowhere.")


def _revoke(
    session_id: Annotated[str | None, typer.Argument(metavar="SESSION", help="Its id.")] = None,
    everywhere: Annotated[bool, typer.Option("--all", help="All of them, this one included.")] = False,
    as_json: AsJson = False,
) -> None:
    if (session_id is None) == (not everywhere):
        raise typer.BadParameter("name one session, or say --all")
    with connected() as client:
        if session_id is None:
            ended = client.post("auth/sign-out-everywhere")
            done(f"Ended {ended['ended']} session(s).", ended, as_json=as_json)
        else:
            client.send("DELETE", f"me/sessions/{quote(session_id, safe='')}")
            done(f"Ended {session_id}.", {"revoked": session_id}, as_json=as_json)
