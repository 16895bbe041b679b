"""Mail through a real SMTP server on this machine: what arrives, what is refused, and what happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from mail_server import Mailbox, mail_server
from shopfloor.base.errors import InvalidInput
from shopfloor.base.ids import new_id
from shopfloor.domain.accounts import letters
from shopfloor.domain.accounts.desk import AccountsDesk
from shopfloor.infra.mail import Mail, MailNotSent, MailSettings, build, checked_email, deliver, send, send_later
from shopfloor.infra.tx import begin, begin_system
from signed_in import PASSWORD, Browsers, make_app

OTHER = "another fake sentence entirely"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def mail(mailbox: Mailbox) -> AsyncIterator[MailSettings]:
    async with mail_server(mailbox) as settings:
        yield settings


@pytest.fixture
def desk(accounts_desk: AccountsDesk, mail: MailSettings) -> AccountsDesk:
    settings = accounts_desk.settings.model_copy(update={"public_url": "https://shop.example.org"})
    return replace(accounts_desk, mail=mail, settings=settings)


@pytest.fixture
async def browsers(desk: AccountsDesk) -> AsyncIterator[Browsers]:
    browsers = Browsers(make_app(desk.store, desk))
    yield browsers
    for http in browsers.open:
        await http.aclose()


async def work(desk: AccountsDesk) -> int:
    """As a worker does with everything on the queue; how many there were."""
    async with begin_system(desk.store) as tx:
        rows = await tx.all("select args from procrastinate_jobs where task_name = 'mail.send' order by id")
    for row in rows:
        mail_id, organization_id = UUID(row["args"]["mail_id"]), UUID(row["args"]["organization_id"])
        await deliver(desk.store, desk.sealer, desk.mail, mail_id, organization_id)
    return len(rows)


def link_in(message: EmailMessage) -> str:
    plain = message.get_body(("plain",))
    assert plain is not None
    return next(line for line in plain.get_content().splitlines() if line.startswith("https://"))


async def test_a_forgotten_password_is_replaced_by_who_reads_the_mail(browsers, people, desk, mailbox):
    somebody = await people.new()
    email = await people.email(somebody)
    signed_in = browsers.new()
    await signed_in.sign_in(email)
    assert (await browsers.new().post("/api/v1/auth/password/forgot", json={"email": email})).status_code == 202
    assert await work(desk) == 1
    [message] = mailbox.taken
    assert (message["To"], message["From"], message["Auto-Submitted"]) == (
        email, "Shopfloor <shopfloor@example.org>", "auto-generated",
    )  # fmt: skip
    link = link_in(message)
    html = message.get_body(("html",))
    assert html is not None
    assert link in html.get_content()
    assert link.startswith("https://shop.example.org/reset#")
    token = link.partition("#")[2]
    weak = await browsers.new().post("/api/v1/auth/password/reset", json={"token": token, "password": "password"})
    assert weak.json()["code"] == "password-too-weak"  # and the link is still good
    body = {"token": token, "password": OTHER}
    assert (await browsers.new().post("/api/v1/auth/password/reset", json=body)).status_code == 204
    assert (await signed_in.get("/api/v1/me")).status_code == 401
    assert (await browsers.new().post("/api/v1/auth/password/reset", json=body)).json()["code"] == "link-not-valid"
    assert [(await browsers.new().sign_in(email, each)).status_code for each in (PASSWORD, OTHER)] == [401, 200]


async def test_an_unknown_address_gets_the_same_answer_and_no_mail(browsers, people, desk):
    disabled = await people.new()
    await people.disable(disabled)
    for email in ("nobody@example.org", await people.email(disabled)):
        answer = await browsers.new().post("/api/v1/auth/password/forgot", json={"email": email})
        assert (answer.status_code, answer.json()) == (202, {"accepted": True})
    assert await work(desk) == 0


async def test_a_later_link_makes_the_one_before_it_void(browsers, people, desk, mailbox):
    email = await people.email(await people.new())
    for _ in range(2):
        await browsers.new().post("/api/v1/auth/password/forgot", json={"email": email})
    await work(desk)
    statuses = [
        (
            await browsers.new().post(
                "/api/v1/auth/password/reset", json={"token": link_in(each).partition("#")[2], "password": OTHER}
            )
        ).status_code
        for each in mailbox.taken
    ]
    assert statuses == [422, 204]


async def test_nobodys_mailbox_is_flooded(browsers, people, desk):
    email = await people.email(await people.new())
    statuses = [
        (await browsers.new().post("/api/v1/auth/password/forgot", json={"email": email})).status_code for _ in range(7)
    ]
    assert statuses == [202] * 5 + [429] * 2
    assert await work(desk) == 5


async def test_a_forged_host_does_not_get_into_the_link(browsers, people, desk, mailbox):
    email = await people.email(await people.new())
    headers = {"X-Forwarded-Host": "attacker.example", "Origin": "", "Sec-Fetch-Site": ""}
    await browsers.new().post("/api/v1/auth/password/forgot", json={"email": email}, headers=headers)
    foreign = await browsers.new().post(
        "/api/v1/auth/password/forgot", json={"email": email}, headers=headers | {"Host": "attacker.example"}
    )
    assert foreign.status_code == 400
    await work(desk)
    assert [link_in(each).split("/")[2] for each in mailbox.taken] == ["shop.example.org"]


async def test_an_address_is_confirmed_by_its_mail(browsers, people, desk, mailbox):
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new()))
    asked = await browser.post("/api/v1/auth/email/verification")
    assert (asked.status_code, asked.json()) == (202, {"mailed": True})
    assert (await browser.get("/api/v1/me/profile")).json()["email_verified_at"] is None
    await work(desk)
    token = link_in(mailbox.taken[0]).partition("#")[2]
    assert (await browsers.new().post("/api/v1/auth/email/verify", json={"token": token})).status_code == 204
    assert (await browser.get("/api/v1/me/profile")).json()["email_verified_at"] is not None
    assert (await browsers.new().post("/api/v1/auth/email/verify", json={"token": token})).status_code == 422


async def test_an_invitation_goes_out_by_mail_and_its_link_to_nobody_else(browsers, people, desk, mailbox):
    browser = browsers.new()
    await browser.sign_in(await people.email(await people.new(role="admin")))
    made = await browser.post("/api/v1/invitations", json={"email": "new@example.org"})
    assert made.json()["link"] is None
    await work(desk)
    token = link_in(mailbox.taken[0]).partition("#")[2]
    body = {"token": token, "name": "New", "password": PASSWORD}
    accepted = await browsers.new().post("/api/v1/auth/invitations/accept", json=body)
    assert accepted.status_code == 200
    invited = browsers.new()
    await invited.sign_in("new@example.org")
    assert (await invited.get("/api/v1/me/profile")).json()["email_verified_at"] is not None


async def test_a_task_that_runs_twice_sends_once_and_what_it_said_is_gone(people, desk, mailbox):
    async with begin(desk.store, people.owner) as tx:
        assert await send_later(
            tx, desk.sealer, desk.mail, "reset", letters.reset("to@example.org", link="https://x/#1")
        )
    for _ in range(2):
        await work(desk)
    assert len(mailbox.taken) == 1
    async with begin(desk.store, people.owner) as tx:
        row = await tx.one("select sealed, sent_at is not null as sent from mails")
    assert row == {"sealed": None, "sent": True}


async def test_a_server_that_refuses_or_is_away_is_asked_again(people, desk, mailbox, mail):
    async with begin(desk.store, people.owner) as tx:
        await send_later(tx, desk.sealer, desk.mail, "reset", letters.reset("to@example.org", link="https://x/#1"))
    mailbox.refusing = "451 later"
    with pytest.raises(MailNotSent, match="tried again"):
        await work(desk)
    mailbox.refusing = ""
    assert await work(desk) == 1
    assert len(mailbox.taken) == 1
    away = replace(desk, mail=mail.model_copy(update={"port": 1}))
    with pytest.raises(MailNotSent, match="SHOPFLOOR_MAIL__HOST"):
        await send(away.mail, build(away.mail, letters.reset("to@example.org", link=""), new_id()))


async def test_a_server_that_says_nothing_is_not_waited_for(mail):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = mail.model_copy(update={"port": port, "timeout_s": 0.2})
    with pytest.raises(MailNotSent):
        await send(settings, build(settings, letters.reset("to@example.org", link=""), new_id()))
    server.close()


async def test_a_server_without_tls_gets_nothing_where_tls_is_set(mail, mailbox):
    settings = mail.model_copy(update={"tls": "starttls"})
    with pytest.raises(MailNotSent):
        await send(settings, build(settings, letters.reset("to@example.org", link=""), new_id()))
    assert mailbox.taken == []


async def test_what_a_mail_says_lies_sealed_until_it_is_sent(people, desk):
    async with begin(desk.store, people.owner) as tx:
        await send_later(tx, desk.sealer, desk.mail, "reset", letters.reset("to@example.org", link="https://x/#canary"))
        row = await tx.one("select sealed from mails")
        queued = await tx.all("select args::text as args from procrastinate_jobs")
    assert row is not None
    assert b"canary" not in bytes(row["sealed"])
    assert all("canary" not in each["args"] and "example.org" not in each["args"] for each in queued)


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("a@example.org\r\nBcc: b@example.org", "x"),
        ("a@example.org\nBcc: b@example.org", "x"),
        ("a@example.org", "x\r\nBcc: b@example.org"),
        ("a@example.org", "x\n\nbody"),
        ("a@example.org", "x\x00"),
    ],
)
async def test_a_line_break_writes_no_header(people, desk, to: str, subject: str):
    with pytest.raises(InvalidInput, match="line break"):
        async with begin(desk.store, people.owner) as tx:
            await send_later(tx, desk.sealer, desk.mail, "reset", Mail(to, subject, "x", "x"))
    with pytest.raises(InvalidInput):
        build(desk.mail, Mail(to, subject, "x", "x"), new_id())


def test_a_letter_escapes_what_others_wrote():
    letter = letters.invitation(
        "a@example.org", organization="<script>alert(1)</script>\r\nBcc: x", link="https://x/#1"
    )
    assert "<script>" not in letter.html
    assert "\n" not in letter.subject


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "@b.example", "a@b..example", "a b@example.org", "a@example.org,b@c.org"]
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(InvalidInput, match="no e-mail address"):
        checked_email(text)
    assert checked_email(" Some.Body@Example.ORG ") == "some.body@example.org"


@pytest.mark.parametrize(
    "bad",
    [
        {"host": "mail.example.org"},
        {"host": "mail.example.org", "sender": "not an address"},
        {"host": "mail.example.org", "sender": "a@example.org\r\nBcc: x@example.org"},
        {"host": "mail.example.org", "sender": "a@example.org", "tls": "none", "user": "x"},
        {"port": 0},
        {"timeout_s": 0},
        {"tls": "maybe"},
        {"unknown": 1},
    ],
)
def test_settings_that_do_not_hold_together_stop_the_start(bad: dict[str, Any]):
    with pytest.raises(ValueError, match=r"validation error"):
        MailSettings.model_validate(bad)
