"""`shopfloor login`: keeps a server's address and a key for this user."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, done
from shopfloor.apps.cli.place import DEFAULT_URL, Place, checked, login_file, write_login
from shopfloor.base.errors import NotSignedIn


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("login", help="Keep a server and a key for the commands of this user.")(_login)


def _login(
    url: Annotated[str, typer.Option(help="The server's address.")] = DEFAULT_URL,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget what was kept.")] = False,
    as_json: AsJson = False,
) -> None:
    if forget:
        login_file().unlink(missing_ok=True)
        done("Forgotten.", {"url": None}, as_json=as_json)
        return
    key = sys.stdin.readline().strip() if key_stdin else getpass.getpass("Key (sf_...): ").strip()
    if not key:
        raise NotSignedIn("No key was given. An owner or admin makes one with `shopfloor key create NAME`.")
    place = Place(checked(url), key)
    with connected(place) as client:
        me = client.get("me")
    file = write_login(place)
    done(f"Signed in to {place.url} as {me['name']}; kept in {file}.", me, as_json=as_json)
