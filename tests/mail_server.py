"""A real SMTP server on this machine, and what it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP

from shopfloor.infra.mail import MailSettings


@dataclass
class Mailbox:
    """What the server took; `refusing`: it answers so instead."""

    taken: list[EmailMessage] = field(default_factory=list)
    refusing: str = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802, ARG002 - aiosmtpd's
        if self.refusing:
            return self.refusing
        self.taken.append(cast("EmailMessage", message_from_bytes(envelope.content, policy=policy.default)))
        return "250 taken"


@asynccontextmanager
async def mail_server(mailbox: Mailbox) -> AsyncIterator[MailSettings]:
    """The settings to reach it by."""
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox, hostname="mail.test"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield MailSettings(host="127.0.0.1", port=port, tls="none", sender="Shopfloor <shopfloor@example.org>")
    server.close()
