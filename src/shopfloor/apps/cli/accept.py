"""`shopfloor accept`: what stands behind a link of ours is done in the terminal, and whoever it is for is signed in."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from shopfloor.apps.cli.account import new_password
from shopfloor.apps.cli.kept_login import keep
from shopfloor.apps.cli.output import AsJson, done
from shopfloor.apps.cli.place import checked, login_file
from shopfloor.apps.cli.sign_in import asked, line_of_stdin, posted, session_of
from shopfloor.base.errors import InvalidInput

Json = dict[str, Any]

_ROUTES: Final = {  # what a link's path stands for, and what it asks for beside the token
    "/setup": ("setup", ("name", "email", "password")),
    "/invitation": ("invitations/accept", ("name", "password")),
    "/reset": ("password/reset", ("password",)),
    "/verify": ("email/verify", ()),
}
_PROMPTS: Final = {"name": "Your name: ", "email": "Your e-mail address: "}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("accept", help="Use a link: of the first start, an invitation, a new password, a confirmed address.")(
        _accept
    )


def _accept(
    name: Annotated[str | None, typer.Option(help="Your name; asked for otherwise.")] = None,
    email: Annotated[str | None, typer.Option(help="For a set-up link: your address; asked for otherwise.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the link and the password from standard input, a line each.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The link is asked for: as an argument other users of the machine could read it, and be faster."""
    url, (route, wanted), token = _parts_of(asked("Link: "))
    known = {"name": name, "email": email}
    body: Json = {"token": token} | {each: known[each] or asked(_PROMPTS[each]) for each in wanted if each in _PROMPTS}
    if "password" in wanted:
        body["password"] = line_of_stdin("password") if password_stdin else new_password()
    if "name" not in wanted:  # nobody is signed in by a letter alone
        posted(url, route, body)
        done("Done. Sign in with `shopfloor login`." if wanted else "Confirmed.", {"url": url}, as_json=as_json)
        return
    session = session_of(url, posted(url, route, body | {"kind": "token"}))
    keep(login_file(), url, session)
    told = {"url": url, "user_id": session["user_id"], "organization_id": session["organization_id"]}
    done(f"Signed in to {url} as {body['name']}; kept in {login_file()}.", told, as_json=as_json)


def _parts_of(link: str) -> tuple[str, tuple[str, tuple[str, ...]], str]:
    """The server, what the link is for, and its token. Raises: InvalidInput."""
    address, _, token = link.partition("#")
    path = urlsplit(address).path
    route = next((route for ending, route in _ROUTES.items() if path.endswith(ending)), None)
    if route is None or not token:
        raise InvalidInput(
            "This is no link of Shopfloor. One looks like https://shopfloor.example.com/invitation#..., with all that "
            "stands behind the #."
        )
    return checked(address[: address.rindex("/")]), route, token
