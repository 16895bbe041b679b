"""`shopfloor login` and `logout`: a person's sign-in, or a server's key, kept for the commands of this user."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated, Any, cast

import httpx2
import typer

from shopfloor.apps.cli.client import ServerAway, connected, refusal_of
from shopfloor.apps.cli.failures import ServerSaid
from shopfloor.apps.cli.kept_login import keep
from shopfloor.apps.cli.output import AsJson, done, note
from shopfloor.apps.cli.place import Place, checked, login_file, read_login, still_used, usual_url, write_login
from shopfloor.base.errors import NotSignedIn

_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_FIRST_ERROR = 400
_CODE_DIGITS = 6

Json = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("login", help="Sign in to a server, or keep a key for it, for the commands of this user.")(_login)
    app.command("logout", help="End the session that `login` began, and forget it.")(_logout)


def _login(
    url: Annotated[
        str | None, typer.Option(help="The server's address; default: SHOPFLOOR_URL, else the `up` of this folder.")
    ] = None,
    email: Annotated[str | None, typer.Option(help="Your e-mail address; asked for otherwise.")] = None,
    organization: Annotated[str | None, typer.Option(help="Its id, if you belong to several.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Keep a key instead, from standard input.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget what was kept.")] = False,
    as_json: AsJson = False,
) -> None:
    if forget:
        login_file().unlink(missing_ok=True)
        done("Forgotten.", {"url": None}, as_json=as_json)
        return
    url = checked(url or usual_url(os.environ))
    if key_stdin:
        place = Place(url, line_of_stdin("key"))
    else:
        email = email or asked("E-mail: ")
        try:
            session = _signed_in(url, email, organization, from_stdin=password_stdin)
        except ServerSaid:
            if (still := still_used(url, os.environ)) is not None:
                note(f"Nothing has changed here: commands still use {still}.")
            raise
        keep(login_file(), url, session)
        place = Place(url, "")
    with connected(place) as client:
        me = client.get("me")
    file = write_login(place) if place.key else login_file()
    done(f"Signed in to {place.url} as {me['name']}; kept in {file}.", me, as_json=as_json)


def _logout(as_json: AsJson = False) -> None:
    place = read_login()
    if place is None:
        raise NotSignedIn("Nobody is signed in here. Keys in SHOPFLOOR_API_KEY or admin.key are not forgotten by this.")
    if not place.key:
        try:
            with connected(place) as client:
                client.post("auth/sign-out")
        except ServerAway:
            note(f"{place.url} does not answer: the session there goes on until it ends by itself.")
        except (NotSignedIn, ServerSaid):
            pass  # it is over already
    login_file().unlink(missing_ok=True)
    done(f"Signed out of {place.url}.", {"url": place.url}, as_json=as_json)


def _signed_in(url: str, email: str, organization: str | None, *, from_stdin: bool) -> Json:
    """The session as the API answers it."""
    password = line_of_stdin("password") if from_stdin else getpass.getpass("Password: ")
    body: Json = {"email": email, "password": password, "kind": "token"}
    return session_of(url, posted(url, "sign-in", body | ({"organization": organization} if organization else {})))


def session_of(url: str, answer: Json) -> Json:
    """The session of an answer, after the second factor where one is asked for."""
    wanted = cast("Json | None", answer["second_factor"])
    if wanted is not None:
        answer = _second_factor(url, wanted)
    session = cast("Json", answer["session"])
    if session["restricted"]:
        note("Your organization asks for a second factor: `shopfloor mfa` sets one up. Nothing else works until then.")
    return session


def _second_factor(url: str, wanted: Json) -> Json:
    if not {"totp", "recovery"} & set(wanted["kinds"]):
        raise NotSignedIn(f"Your second factor is a passkey, which wants a browser. Sign in at {url}, or use a key.")
    code = getpass.getpass("Code from your app, or a recovery code: ").strip()
    kind = "totp" if code.isdigit() and len(code) == _CODE_DIGITS else "recovery"
    return posted(url, "second-factor", {"challenge": wanted["challenge"], "kind": kind, "code": code})


def posted(url: str, path: str, body: Json) -> Json:
    """Before anybody is signed in. Raises: ServerSaid, ServerAway."""
    try:
        answer = httpx2.post(f"{url}/api/v1/auth/{path}", json=body, timeout=_TIMEOUT, trust_env=False)
        said = cast("Json", answer.json()) if answer.content else {}
    except (httpx2.TransportError, ValueError) as error:
        raise ServerAway(f"No Shopfloor server answers at {url}. Check the address, or start it.") from error
    if answer.status_code >= _FIRST_ERROR:
        raise refusal_of(answer)
    return said


def line_of_stdin(what: str) -> str:
    """Raises: NotSignedIn for an empty one."""
    text = sys.stdin.readline().strip()
    if not text:
        raise NotSignedIn(f"No {what} came on standard input. A key is made with `shopfloor key create NAME`.")
    return text


def asked(prompt: str) -> str:
    """What somebody types, or pipes in. Raises: NotSignedIn for nothing."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    text = sys.stdin.readline().strip()
    if not text:
        raise NotSignedIn("Nothing was typed there. Type it, or give it by an option: `--help` says which.")
    return text
