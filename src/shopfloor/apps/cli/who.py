"""Members and teams as people name them: by id, e-mail address or slug."""

from __future__ import annotations

from urllib.parse import quote

from shopfloor.apps.cli.client import Client
from shopfloor.base.errors import NotFound
from shopfloor.base.ids import parse_id

_MOST = 10_000


def path_of(text: str) -> str:
    """`text` as a part of an address."""
    return quote(text, safe="")


def member_id(client: Client, text: str) -> str:
    """Of a member named by id or e-mail address. Raises: NotFound."""
    if parse_id(text) is not None:
        return text
    for each in client.items("members", most=_MOST):
        if (each["email"] or "").lower() == text.lower():
            return each["id"]
    raise NotFound(
        f"There is no member {text!r}: name the e-mail address or the id. `shopfloor member list` shows both."
    )


def team_id(client: Client, text: str) -> str:
    """Of a team named by id or slug. Raises: ServerSaid."""
    return text if parse_id(text) is not None else client.get(f"teams/{path_of(text)}")["id"]


def holder_id(client: Client, text: str) -> str:
    """Of a member (id, e-mail address) or a team (slug)."""
    return member_id(client, text) if "@" in text or parse_id(text) is not None else team_id(client, text)


def given(**fields: object) -> dict[str, object]:
    """Only what was named."""
    return {name: value for name, value in fields.items() if value is not None}
