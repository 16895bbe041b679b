"""`shopfloor demo`, as a new user types it."""

from __future__ import annotations

import pytest

from e2e_installation import Installation

pytestmark = [pytest.mark.docker]


async def test_the_demo_goes_from_nothing_to_a_verified_diff_and_its_bill_is_ours(installation: Installation):
    done = await installation.cli("demo", within_s=120, SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE="false")

    assert done.code == 0, done.out + done.err
    assert "before      FAILED  python3 -m pytest -q" in done.out
    assert "succeeded   verified" in done.out
    assert "+    share = (abs(amount_cents) * percent + 50) // 100" in done.out
    assert "the same to the nano-dollar" in done.out
    assert "shopfloor run --repo . --model" in done.out
    assert "sk-mock" not in done.out + done.err
    assert "\x1b" not in done.out, "nothing moves the cursor of what isn't a terminal"
    assert (installation.home / "admin.key").stat().st_mode & 0o777 == 0o600


async def test_what_the_demo_did_can_be_seen_and_replayed_afterwards_without_a_server(installation: Installation):
    shown = await installation.cli("demo", "--json", within_s=120)
    job = shown.json

    listed = await installation.cli("job", "list")
    assert listed.out.split("\t")[:3] == [job["id"], "succeeded", "yes"]
    diff = await installation.cli("job", "diff", job["id"][:13])
    assert diff.out.startswith("diff --git a/pricing/rounding.py b/pricing/rounding.py\n")
    replayed = await installation.cli("job", "retry", job["id"], "--replay", "--json")
    assert "nothing works on queued jobs" in replayed.err

    again = await installation.cli("run", "--resume", replayed.json["id"], "--json", within_s=120)
    assert again.code == 0, again.err
    assert (again.json["verified"], again.json["cost_nanos"]) == (True, 0)
    assert [change["path"] for change in again.json["changes"]] == ["pricing/rounding.py"]

    steps = [line.split("\t") for line in (await installation.cli("job", "steps", job["id"])).out.splitlines()]
    assert [step[0] for step in steps if step[2] == "model"] == [str(turn) for turn in range(1, 8)]
    assert {step[4] for step in steps} == {"done"}
    words = ("--before-turn", "7", "--cost-usd", "9", "--turns", "12", "--timeout", "99", "--json")
    forked = await installation.cli("job", "fork", job["id"], *words)
    assert forked.json["limits"] == {"cost_usd": "9", "turns": 12, "timeout_s": 99}
    told = (await installation.cli("job", "view", job["id"])).out
    assert "\nrun 1       finished  on " in told
