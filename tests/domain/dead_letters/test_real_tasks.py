"""The platform's own tasks as poison: a mail that no server takes, a late diff of a job that isn't there."""

from __future__ import annotations

import asyncio
import socket
from uuid import UUID

import httpx2
from aiosmtpd.smtp import SMTP

from domain.accounts.test_mail import Mailbox
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.dead_letters import collect
from shopfloor.domain.jobs import late_diff
from shopfloor.domain.jobs import store as jobs
from shopfloor.infra import mail
from shopfloor.infra.mail import Mail, MailSettings
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin

PLACE = "/api/v1/dead-letters"
TO = "somebody@example.org"


def _settings(port: int) -> MailSettings:
    return MailSettings(host="127.0.0.1", port=port, tls="none", sender="Shopfloor <shopfloor@example.org>")


def _closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_a_mail_that_no_server_takes_is_a_letter_without_its_text_and_arrives_once_requeued(
    store: Store, sealer: MasterKeySealer, owner: Principal, client: httpx2.AsyncClient, work_off
):
    settings = [_settings(_closed_port())]

    async def send_mail(mail_id: str, organization_id: str) -> None:
        await mail.deliver(store, sealer, settings[-1], UUID(mail_id), UUID(organization_id))

    store.services.queue.task(mail.TASK, send_mail, attempts=3)
    async with begin(store, owner) as tx:
        await mail.send_later(tx, sealer, settings[0], "test", Mail(TO, "Hello", "visibly-fake text", "<p>x</p>"))
    await work_off()
    await collect.collect(store)
    [letter] = (await client.get(PLACE)).json()["items"]
    found = await client.get(f"{PLACE}/{letter['id']}")
    assert (letter["task"], letter["reason"]["code"], letter["attempts"]) == ("mail.send", "mail-not-sent", 3)
    assert TO not in found.text
    assert "visibly-fake text" not in found.text

    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box, hostname="mail.test"), "127.0.0.1", 0)
    settings.append(_settings(server.sockets[0].getsockname()[1]))
    assert (await client.post(f"{PLACE}/{letter['id']}/requeue", json={})).status_code == 200
    await work_off()
    server.close()
    assert [str(each["To"]) for each in box.taken] == [TO]
    assert await collect.collect(store) == 0


async def test_a_late_diff_that_can_not_be_made_is_a_letter_of_its_project(
    store: Store, owner: Principal, client: httpx2.AsyncClient, make_job, work_off
):
    job = await make_job()

    async def make_late_diff(job_id: str, organization_id: str) -> None:
        async with begin(store, Principal("worker", owner.id, UUID(organization_id), frozenset({"*"}))) as tx:
            await jobs.job(tx, new_id())  # its job can't be read

    store.services.queue.task(late_diff.TASK, make_late_diff, attempts=3)
    async with begin(store, owner) as tx:
        await tx.defer(late_diff.TASK, job_id=str(job.id), organization_id=str(owner.organization_id))
    await work_off()
    await collect.collect(store)
    [letter] = (await client.get(PLACE, params={"project": "default"})).json()["items"]
    assert (letter["task"], letter["reason"]["code"]) == (late_diff.TASK, "job-not-found")
    assert (letter["job_id"], letter["project_id"]) == (str(job.id), str(job.project_id))
