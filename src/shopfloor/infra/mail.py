"""Mail by SMTP: one message is built, queued with what it is about, and sent by a worker.

Sources: RFC 5321, RFC 8314 (TLS), RFC 3834 (`Auto-Submitted`).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, ClassVar, Final, Literal
from uuid import UUID

import aiosmtplib
import orjson
import structlog
from email_validator import EmailNotValidError, validate_email
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from shopfloor.base.errors import InvalidInput, Unavailable
from shopfloor.base.ids import NIL, new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.tx import Store, Tx, begin

TASK: Final = "mail.send"
ATTEMPTS: Final = 12  # with growing pauses: over an hour
_SEALED: Final = register_sealed("mails", "sealed")
_LINE: Final = re.compile(r"[\r\n\x00-\x1f\x7f]")
_MOST_SUBJECT_CHARS = 200

log = structlog.get_logger(__name__)


class MailNotSent(Unavailable):
    """The SMTP server doesn't answer, or refused the message for now; it is tried again."""

    title: ClassVar[str] = "The mail server does not take the message"


class MailSettings(BaseModel):
    """Which SMTP server takes our mail. Without a host none is sent, and what would need it says so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = ""  # empty: no mail
    port: int = Field(default=587, ge=1, le=65_535)
    tls: Literal["starttls", "tls", "none"] = "starttls"  # `none`: to a server on this machine only
    user: str = ""
    password: SecretStr | None = None
    sender: str = ""  # `Shopfloor <shopfloor@example.com>`, or the address alone
    timeout_s: float = Field(default=20.0, gt=0, le=300)

    @model_validator(mode="after")
    def _whole(self) -> MailSettings:
        if self.host and not self.sender:
            raise ValueError("set the sender too, e.g. shopfloor@example.com")
        if self.sender:
            _address(self.sender)
        if self.tls == "none" and self.user:
            raise ValueError("a password is never sent without TLS: set tls to starttls or tls, or leave the user out")
        return self


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to one person."""

    to: str
    subject: str
    text: str
    html: str


async def send_later(tx: Tx, sealer: Sealer, settings: MailSettings, kind: str, mail: Mail) -> bool:
    """Send it once this transaction has committed. False: no SMTP server is set, and nothing was queued.

    Raises: InvalidInput for an address or subject that would write headers of its own.
    """
    if not settings.host:
        return False
    _refuse_headers(mail)
    mail_id = new_id()
    sealed = await _sealed(tx, sealer, mail_id, mail)
    await tx.execute(
        "insert into mails (id, organization_id, kind, sealed, created_at) values (%s, %s, %s, %s, %s)",
        (mail_id, tx.organization_id, kind, sealed, tx.clock.now()),
    )
    await tx.defer(TASK, mail_id=str(mail_id), organization_id=str(tx.organization_id))
    return True


async def deliver(store: Store, sealer: Sealer, settings: MailSettings, mail_id: UUID, organization_id: UUID) -> None:
    """Send a queued mail. Sent already: nothing happens. Once it is sent, what it said is gone from the database.

    A worker killed between the server's answer and the commit sends it again, under the same Message-ID.
    Raises: MailNotSent.
    """
    principal = Principal("system", NIL, organization_id, name="mail")
    async with begin(store, principal) as tx:
        row = await tx.one("select sealed from mails where id = %s and sent_at is null", (mail_id,))
        mail = await _opened(tx, sealer, mail_id, row["sealed"]) if row else None
        now = tx.clock.now()
    if mail is None:
        return
    message = build(settings, mail, mail_id)
    message["Date"] = format_datetime(now)
    await send(settings, message)
    async with begin(store, principal) as tx:
        await tx.execute(
            "update mails set sealed = null, sent_at = %s where id = %s and sent_at is null", (tx.clock.now(), mail_id)
        )
    log.info("mail.sent", mail_id=str(mail_id))


async def send(settings: MailSettings, message: EmailMessage) -> None:
    """Hand it to the server, within the time set for each step. Raises: MailNotSent."""
    password = settings.password.get_secret_value() if settings.password else None
    try:
        await aiosmtplib.send(
            message,
            hostname=settings.host,
            port=settings.port,
            username=settings.user or None,
            password=password if settings.user else None,
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            timeout=settings.timeout_s,
        )
    except (aiosmtplib.SMTPException, OSError) as error:
        raise MailNotSent(
            f"The mail server {settings.host}:{settings.port} did not take a message: {type(error).__name__}. It is "
            "tried again; if it stays so, check SHOPFLOOR_MAIL__HOST, __PORT, __TLS, __USER and __PASSWORD.",
            host=settings.host,
        ) from error


def build(settings: MailSettings, mail: Mail, mail_id: UUID) -> EmailMessage:
    """Text and HTML of the same; a machine wrote it. Raises: InvalidInput."""
    _refuse_headers(mail)
    sender = _address(settings.sender)
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(addr_spec=mail.to)
    message["Subject"] = mail.subject[:_MOST_SUBJECT_CHARS]
    message["Message-ID"] = f"<{mail_id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def checked_email(text: str) -> str:
    """The address as it is stored. Raises: InvalidInput."""
    try:
        found = validate_email(text.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidInput(f"This is no e-mail address: {error} Write it like name@example.com.") from error
    return found.normalized.lower()


def _refuse_headers(mail: Mail) -> None:
    if _LINE.search(mail.to) or _LINE.search(mail.subject):
        raise InvalidInput("An address or a subject with a line break would write headers of its own. Leave it out.")


def _address(text: str) -> Address:
    """Raises: ValueError."""
    name, bracket, spec = text.rpartition("<")
    if _LINE.search(text) or (bracket and not spec.endswith(">")):
        raise ValueError("write the sender like Shopfloor <shopfloor@example.com>")
    return Address(name.strip().strip('"'), addr_spec=spec.rstrip(">").strip())


async def _sealed(tx: Tx, sealer: Sealer, mail_id: UUID, mail: Mail) -> bytes:
    return await sealer.seal(tx, tx.organization_id, _SEALED.place(mail_id), orjson.dumps(asdict(mail)).decode())


async def _opened(tx: Tx, sealer: Sealer, mail_id: UUID, sealed: bytes) -> Mail:
    said: dict[str, Any] = orjson.loads(
        await sealer.open(tx, tx.organization_id, _SEALED.place(mail_id), bytes(sealed))
    )
    return Mail(**said)
