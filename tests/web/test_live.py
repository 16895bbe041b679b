"""A job's page over everything that breaks in the middle: nothing is lost, nothing comes twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from web_jobs import Shop, need_sandbox, shop
from web_site import Site

pytestmark = [pytest.mark.docker]

LOST = [
    "WebSocket connection",
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_SOCKET",
    "503",
]
SILENT = {"model.replied", "tool.started", "tool.output", "tool.finished", "network.allowed"}


@pytest.fixture(scope="module")
def floor() -> Iterator[Shop]:
    need_sandbox()
    with shop() as made:
        yield made


@pytest.fixture
def site(floor: Shop) -> Site:
    return floor.site


def _shown(page: Page) -> tuple[list[int], list[str]]:
    """The events and the steps that the timeline shows, each as often as it does."""
    rows = page.get_by_role("list", name="Timeline")
    seqs = rows.locator("[data-seq]").evaluate_all("rows => rows.map(row => Number(row.dataset.seq))")
    steps = rows.locator("[data-step]").evaluate_all("rows => rows.map(row => row.dataset.step)")
    return seqs, steps


def _told(floor: Shop, job_id: str) -> tuple[list[int], set[str]]:
    """The same as the server has it."""
    events = floor.events(job_id)
    notes = [event["seq"] for event in events if event["kind"] not in SILENT]
    with floor.site.client() as owner:
        steps = owner.get(f"/api/v1/jobs/{job_id}/steps", params={"limit": 200}).json()["items"]
    return notes, {f"{step['turn']}.{step['key']}" if step["key"] else str(step["turn"]) for step in steps}


def _holds_all(page: Page, floor: Shop, job_id: str) -> None:
    notes, steps = _told(floor, job_id)
    expect(page.locator(f'[data-seq="{notes[-1]}"]')).to_be_visible()
    seqs, shown = _shown(page)
    assert seqs == notes
    assert sorted(shown) == sorted(steps)


def test_a_server_that_is_killed_and_started_again_loses_and_doubles_nothing(
    floor: Shop, opened: Callable[..., Page], faults: list[str]
):
    faults.extend(LOST)
    job_id = floor.submit("MANY-TURNS over a kill")
    page = opened("owner")
    page.goto(f"/jobs/{job_id}")
    expect(page.get_by_role("button", name="Turn 2")).to_be_visible(timeout=40_000)
    floor.kill()
    expect(page.get_by_text("reconnecting").or_(page.get_by_text("offline"))).to_be_visible()
    floor.start()
    expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("ended", exact=True)).to_be_visible(timeout=30_000)
    assert any(event["kind"] == "run.lost" for event in floor.events(job_id)), "the kill hit nothing"
    _holds_all(page, floor, job_id)


def test_a_connection_that_is_cut_again_and_again_loses_and_doubles_nothing(
    floor: Shop, opened: Callable[..., Page], faults: list[str]
):
    faults.extend(LOST)
    cuts: list[int] = []

    def cutting(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        told = 0

        def pass_on(message: str | bytes) -> None:
            nonlocal told
            socket.send(message)
            told += 1
            if told == 4 and len(cuts) < 5:
                cuts.append(told)
                server.close()
                socket.close(code=1011, reason="cut by the test")

        server.on_message(pass_on)

    job_id = floor.submit("MANY-TURNS over cuts")
    page = opened("owner")
    page.route_web_socket("**/stream?**", cutting)
    page.goto(f"/jobs/{job_id}")
    expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("ended", exact=True)).to_be_visible(timeout=60_000)
    assert len(cuts) == 5
    _holds_all(page, floor, job_id)


@pytest.mark.parametrize("left", ["sse", "polling"])
def test_where_no_websocket_passes_another_way_does(
    floor: Shop, opened: Callable[..., Page], faults: list[str], left: str
):
    faults.extend(LOST)
    page = opened("owner")
    page.route_web_socket("**/stream?**", lambda socket: socket.close(code=1011, reason="no way"))
    if left == "polling":
        page.route("**/events", lambda route: route.abort() if _wants_stream(route) else route.fallback())
    page.route("**/ws-ticket", lambda route: route.abort())
    faults.append("ERR_FAILED")
    job_id = floor.submit("MANY-TURNS by another way")
    page.goto(f"/jobs/{job_id}")
    says = "live, every 2 s" if left == "polling" else "live"
    expect(page.get_by_text(says, exact=True)).to_be_visible(timeout=30_000)
    expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=90_000)
    _holds_all(page, floor, job_id)


def _wants_stream(route: Route) -> bool:
    return "event-stream" in (route.request.headers.get("accept") or "")


def test_two_tabs_show_the_same_job_and_both_go_on(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("MANY-TURNS in two tabs")
    pages: list[Any] = [opened("owner"), opened("owner")]
    for page in pages:
        page.goto(f"/jobs/{job_id}")
    for page in pages:
        expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=90_000)
        _holds_all(page, floor, job_id)


def test_a_log_grows_while_one_watches(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("MANY-TURNS with a log")
    page = opened("owner")
    page.goto(f"/jobs/{job_id}?tab=logs")
    log = page.get_by_role("log")
    expect(log).to_contain_text("40", timeout=40_000)
    expect(log).to_contain_text("160", timeout=60_000)
    expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=60_000)
    page.get_by_label("Search").fill("seq 121 160")
    expect(page.get_by_text("1 of 1")).to_be_visible()


def test_what_lies_before_the_events_that_are_followed_is_read_on_request(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("quick with a long past")
    floor.ended(job_id)

    def looks_back_five(route: Route) -> None:
        """The page follows from 1,000 events back: as if there were so many."""
        found = route.fetch()
        route.fulfill(response=found, json=found.json() | {"last_seq": found.json()["last_seq"] + 995})

    page = opened("owner")
    page.route(f"**/api/v1/jobs/{job_id}", looks_back_five)
    page.goto(f"/jobs/{job_id}")
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline).to_contain_text("The job ended")
    expect(timeline).not_to_contain_text("Queued for the agent coding")
    page.get_by_role("button", name="Notes of the first").click()
    expect(timeline).to_contain_text("Queued for the agent coding")
    _holds_all(page, floor, job_id)
