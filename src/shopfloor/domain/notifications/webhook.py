"""One attempt to hand a message to a webhook, by the guarded client: how it was answered, never an exception."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import orjson

from shopfloor import __version__
from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.notifications.models import Notification
from shopfloor.domain.notifications.settings import NotificationsSettings
from shopfloor.domain.notifications.signing import signed_headers
from shopfloor.infra.json_column import storable
from shopfloor.infra.outbound import OutboundLimits, OutboundRules, Resolver, UrlRefused, outbound_client, parse_url
from shopfloor.infra.redaction import REDACTOR

_GONE: Final = 410
_MOST_BYTES: Final = 64 * 1024
_MOST_EXCERPT_CHARS: Final = 500
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Answer:
    """How an attempt went."""

    taken: bool
    error: str | None = None  # a sentence; None: taken
    status: int | None = None
    excerpt: str | None = None
    again: bool = True  # False: trying again is no use
    gone: bool = False  # the other side says that nobody listens there any more


def rules_of(settings: NotificationsSettings) -> OutboundRules:
    """Which webhooks may be reached."""
    schemes = frozenset({"https", "http"} if settings.allow_private else {"https"})
    return OutboundRules(schemes, allow_private=settings.allow_private)


def check_url(settings: NotificationsSettings, url: str) -> str:
    """The URL, if its spelling and a literal address are allowed. Raises: UrlRefused."""
    return parse_url(url, rules_of(settings)).url


def message_of(told: Notification) -> bytes:
    """The body: `{type, timestamp, data}`. Source: Standard Webhooks 1.0.0, 'Payload structure'."""
    said: dict[str, Any] = {
        "type": told.kind,
        "timestamp": told.created_at.isoformat().replace("+00:00", "Z"),
        "data": {"id": str(told.id), "title": told.title, "text": told.body, **told.data},
    }
    return orjson.dumps(said, default=str)


async def post(
    settings: NotificationsSettings, url: str, secret: str, told: Notification, timestamp: int,
    *, resolver: Resolver | None = None,
) -> Answer:  # fmt: skip
    """Anything but 2xx is a refusal; a redirect isn't followed."""
    body = message_of(told)
    headers = {
        "content-type": "application/json",
        "user-agent": f"shopfloor/{__version__}",
        **signed_headers(secret, str(told.id), timestamp, body),
    }
    limits = OutboundLimits(
        connect_s=5.0, read_s=settings.timeout_s, total_s=settings.timeout_s, max_response_bytes=_MOST_BYTES
    )
    try:
        async with outbound_client(rules_of(settings), limits=limits, resolver=resolver) as http:
            response = await http.post(url, content=body, headers=headers)
    except UrlRefused as error:
        return Answer(taken=False, error=error.detail, again=False)
    except ShopfloorError as error:
        return Answer(taken=False, error=error.detail)
    except httpx2.HTTPError as error:
        return Answer(taken=False, error=f"The webhook could not be reached: {type(error).__name__}.")
    excerpt = _excerpt(response.text)
    if response.is_success:
        return Answer(taken=True, status=response.status_code, excerpt=excerpt)
    return Answer(
        taken=False,
        error=f"The webhook answered {response.status_code}; only 2xx says that it took the message.",
        status=response.status_code,
        excerpt=excerpt,
        again=response.status_code != _GONE,
        gone=response.status_code == _GONE,
    )


def _excerpt(text: str) -> str:
    """The beginning of what was answered, fit to be stored and shown."""
    return REDACTOR.text(_CONTROL.sub(" ", storable(text[:_MOST_EXCERPT_CHARS])))
