"""A notification as a mail: plain text, and the same as HTML, escaped."""

from __future__ import annotations

from html import escape

from shopfloor.domain.notifications.models import Notification
from shopfloor.infra.mail import Mail

_WHY = "You get this because your organization on Shopfloor sends such notifications to this address."


def letter(to: str, told: Notification) -> Mail:
    """What is sent to `to`."""
    html = told.html
    if html is None:
        said = "".join(f"<p>{escape(each)}</p>" for each in told.body.split("\n\n"))
        html = f'<!doctype html><html lang="en"><body>{said}<p>{escape(_WHY)}</p></body></html>'
    return Mail(to, told.title, f"{told.body}\n\n{_WHY}\n", html)
