"""`shopfloor up` and the commands that ask it: submit, watch, cancel; a kill in the middle; a second one."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from datetime import datetime

import pytest

from e2e_installation import Installation, calls, mock

pytestmark = [pytest.mark.docker]

SLOW = """
scenes:
  - name: model
    when: {first_message_contains: SLOW-MODEL}
    replies:
      - {tool_calls: [{name: write_file, arguments: {path: made.txt, content: "before the wait\\n"}}]}
      - {text: at last, latency_ms: 60000}
  - name: command
    when: {first_message_contains: SLOW-COMMAND}
    replies:
      - tool_calls: [{name: shell, arguments: {command: "echo before > made.txt; sleep 120"}}]
  - name: quick
    replies:
      - tool_calls: [{name: write_file, arguments: {path: made.txt, content: "hello\\n"}}]
      - tool_calls: [{name: finish, arguments: from-schema}]
"""


async def test_a_job_is_submitted_watched_listed_and_cancelled_through_a_server(installation: Installation):
    async with mock(SLOW) as server:
        up = await installation.up()
        await installation.ready(server)
        first_key = re.search(r"sf_live_\w+", "".join(up.said))
        assert first_key
        assert (installation.home / "admin.key").read_text() == f"{first_key[0]}\n"

        quick = await installation.submit("quick work", "--label", "ticket=PAY-412")
        watched = await installation.cli("job", "watch", quick)
        assert (watched.code, watched.err) == (0, "")
        assert "succeeded   unverified" in watched.out
        assert watched.out.count("  > write_file made.txt") == 1

        await _cancelled_within(installation, "SLOW-MODEL", "model.replied", most_s=4)
        await _cancelled_within(installation, "SLOW-COMMAND", "tool.started", most_s=4)
        listed = await installation.cli("job", "list", "--state", "cancelled", "--json")
        assert [job["task"] for job in listed.json] == ["SLOW-COMMAND", "SLOW-MODEL"]
        assert (await installation.cli("job", "list", "--label", "ticket=PAY-412")).out.startswith(
            f"{quick}\tsucceeded\t"
        )

        second = await installation.cli("up")
        assert second.code == 5
        assert "is up already" in second.err
        assert await up.stop(signal.SIGINT) == 0
        assert "Stopping." in up.said[-1]


async def _cancelled_within(installation: Installation, task: str, after: str, *, most_s: float) -> None:
    """From the request to the terminal event, as the events tell; the promise is 2 s on a quiet machine."""
    job_id = await installation.submit(task)
    await installation.until(job_id, after)
    watching = asyncio.create_task(installation.cli("job", "watch", job_id))
    cancelled = await installation.cli("job", "cancel", job_id)
    assert cancelled.code == 0, cancelled.err
    assert (await watching).code == 1
    job = await installation.job(job_id)
    events = (await installation.cli("job", "logs", job_id, "--json")).json
    at = {event["kind"]: datetime.fromisoformat(event["at"]) for event in events}
    took_s = (at["job.cancelled"] - at["job.cancelling"]).total_seconds()
    assert job["state"] == "cancelled"
    assert took_s <= most_s
    assert [change["path"] for change in job["changes"]] == ["made.txt"], "what was done so far is kept"


STEPS = """
pace: {latency_ms: 300}
replies:
  - {tool_calls: [{name: write_file, arguments: {path: one.txt, content: "1\\n"}}]}
  - {tool_calls: [{name: write_file, arguments: {path: two.txt, content: "2\\n"}}]}
  - {latency_ms: 4000, tool_calls: [{name: write_file, arguments: {path: three.txt, content: "3\\n"}}]}
  - {tool_calls: [{name: write_file, arguments: {path: four.txt, content: "4\\n"}}]}
  - {tool_calls: [{name: finish, arguments: from-schema}]}
"""


async def test_a_killed_up_goes_on_at_its_next_start_and_no_finished_call_is_paid_again(installation: Installation):
    async with mock(STEPS) as server:
        up = await installation.up()
        await installation.ready(server)
        job_id = await installation.submit("write four files")
        await calls(server, 3)  # the third is in flight
        up.kill()
        await up.process.wait()

        await installation.up()
        watched = await installation.cli("job", "watch", job_id, "--json")

        assert watched.code == 0, watched.err
        job = watched.json
        assert sorted(change["path"] for change in job["changes"]) == ["four.txt", "one.txt", "three.txt", "two.txt"]
        delivered = [entry.turn for entry in server.bill().entries if entry.delivered]
        assert delivered == [0, 1, 2, 3, 4], "each finished call once, in order"
        assert (job["runs"], job["crashes"]) == (2, 1)
        events = (await installation.cli("job", "logs", job_id, "--json")).json
        assert [event["seq"] for event in events] == list(range(1, job["last_seq"] + 1))
        assert job["unknown_nanos"] > 0, "the call in flight at the kill is booked at its bound until it is known"


async def test_a_worker_that_is_told_to_stop_gives_its_job_back_and_another_one_goes_on(
    installation: Installation, postgres: str
):
    external = {"SHOPFLOOR_DATABASE__URL": postgres.replace("/postgres?", "/e2e_handover?")}
    _create_database(postgres, "e2e_handover")
    installation.environ |= external
    migrated = await installation.cli("migrate", "--json")
    assert (migrated.code, migrated.json["before"]) == (0, None)
    async with mock(STEPS) as server:
        await installation.ready(server)
        first = await installation.start("worker", "--health-port", "0")
        assert "health at http://127.0.0.1:" in await first.line_with("A worker is up")
        job_id = await installation.submit("write four files, with two workers")
        await calls(server, 3)
        second = await installation.start("worker")
        await second.line_with("A worker is up")

        stopped_at = time.monotonic()
        assert await first.stop(signal.SIGTERM) == 0
        assert time.monotonic() - stopped_at < 20
        again = await installation.cli("run", "--resume", job_id, "--json")

        assert again.code == 0, again.err
        assert (again.json["runs"], again.json["crashes"]) == (2, 0), "given back, not lost"
        assert len(again.json["changes"]) == 4
        delivered = [entry.turn for entry in server.bill().entries if entry.delivered]
        assert delivered == [0, 1, 2, 3, 4]


def _create_database(url: str, name: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name}")
