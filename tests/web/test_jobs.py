"""The whole story of a job in a browser: submitted, watched, read, paid, found again; and who may do what to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from web_jobs import Shop, need_sandbox, shop
from web_site import Site, serious

IMAGES = Path(__file__).parents[2] / "docs/guide/images"

pytestmark = [pytest.mark.docker]


@pytest.fixture(scope="module")
def floor() -> Iterator[Shop]:
    need_sandbox()
    with shop() as made:
        yield made


@pytest.fixture
def site(floor: Shop) -> Site:
    return floor.site


def _photograph(page: Page, name: str) -> None:
    """Into the guide, where somebody asks for it: `SCREENSHOTS=1`. This machine's name stays out of it."""
    if os.environ.get("SCREENSHOTS"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        for note in page.get_by_text(f"on {socket.gethostname()}").all():
            note.evaluate("note => { note.textContent = note.textContent.replace(/ on \\S+$/, ' on worker-1') }")
        page.screenshot(path=IMAGES / f"{name}.png")


def test_a_job_is_submitted_watched_read_paid_and_found_again(floor: Shop, opened: Callable[..., Page]):
    page = opened("owner")
    page.goto("/jobs")
    page.get_by_role("link", name="New job").click()
    page.get_by_label("Task").fill("STORY: count, then write")
    page.get_by_text("Agent, model, checks").click()
    page.get_by_role("combobox", name="Model").fill("mock/test")
    page.get_by_text("These", exact=True).click()
    page.get_by_label("Commands, one a line").fill("test -f notes/made.txt")
    page.get_by_label("Cost limit (USD)").fill("1.50")
    page.get_by_label("Labels").fill("ticket=PAY-412")
    _photograph(page, "new-job")
    page.get_by_role("button", name="Submit the job").click()

    expect(page.get_by_role("heading", level=1, name="STORY: count, then write")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline.get_by_role("button", name="shell")).to_be_visible(timeout=40_000)
    expect(page.get_by_text("succeeded, verified")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("ended", exact=True)).to_be_visible()
    _photograph(page, "job")

    _its_words_are_text(page)
    _its_changes_are_read_and_its_cost_is_the_servers(floor, page)
    _it_is_found_again_by_a_view(floor, page)


def _its_words_are_text(page: Page) -> None:
    timeline = page.get_by_role("list", name="Timeline")
    timeline.get_by_role("button", name="Turn 1").click()
    said = page.get_by_role("region", name="The chosen step")
    expect(said).to_contain_text("<b>Not bold</b> <script>document.title = 'taken over'</script>")
    expect(page).to_have_title("STORY: count, then write · Shopfloor")
    timeline.get_by_role("button", name="shell").click()
    page.get_by_role("button", name="Open in the log").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("counted 1")
    log.evaluate("frame => { frame.scrollTop = frame.scrollHeight }")
    expect(log).to_contain_text("<img src=x onerror=alert(1)>")
    _photograph(page, "job-logs")


def _its_changes_are_read_and_its_cost_is_the_servers(floor: Shop, page: Page) -> None:
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_role("region", name="notes/made.txt", exact=True)).to_contain_text("hello")
    expect(page.locator("td.diff-code-insert").first).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    expect(page.get_by_role("region", name="Checks")).to_contain_text("passed")
    _photograph(page, "job-changes")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download the patch").click()
    assert "+hello" in downloading.value.path().read_text()

    page.get_by_role("tab", name="Cost").click()
    job_id = page.url.split("/jobs/")[1].split("?")[0]
    spent = floor.job(job_id)["cost_nanos"]
    assert spent > 0
    expect(page.get_by_role("table", name="By model").get_by_role("row").nth(1)).to_contain_text(f"${spent / 1e9:.4f}")
    _photograph(page, "job-cost")
    page.get_by_role("tab", name="Details").click()
    expect(page.get_by_role("table", name="Facts")).to_contain_text("ticket=PAY-412")


def _it_is_found_again_by_a_view(floor: Shop, page: Page) -> None:
    page.goto("/jobs")
    page.get_by_label("Filter").fill("label:ticket=PAY-412")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="STORY: count, then write")).to_be_visible()
    page.get_by_role("button", name="Save as a view").click()
    page.get_by_label("Name").fill("Pay 412")
    page.keyboard.press("Enter")
    page.goto("/jobs")
    page.get_by_role("button", name="Pay 412").click()
    expect(page.get_by_role("table", name="Jobs").get_by_role("row")).to_have_count(2)
    expect(page).to_have_url(f"{floor.site.url}/jobs?q=label%3Aticket%3DPAY-412")
    _photograph(page, "jobs")


def test_what_the_server_does_not_filter_by_is_said_and_not_dropped(floor: Shop, opened: Callable[..., Page]):
    page = opened("owner")
    page.goto("/jobs?q=cost:>2 status:nonsense agent:coding words")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("doesn't filter by cost")
    expect(alert).to_contain_text('There is no status "nonsense"')
    expect(alert).to_contain_text('"words" was left out')


def test_errors_stand_beside_their_fields_and_a_draft_outlives_a_reload(
    floor: Shop, opened: Callable[..., Page], faults: list[str]
):
    faults.append("422")
    page = opened("owner")
    page.goto("/jobs/new")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.get_by_text("Say what is to be done.")).to_be_visible()
    page.get_by_label("Task").fill("a task that is typed with care")
    page.get_by_text("Agent, model, checks").click()
    page.get_by_label("Turns at most").fill("5000")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Turns at most")).to_have_attribute("aria-invalid", "true")
    page.reload()
    expect(page.get_by_label("Task")).to_have_value("a task that is typed with care")
    page.get_by_role("button", name="Copy as command").click()
    expect(page.get_by_label("Command line")).to_contain_text("--turns 5000")


def test_a_session_that_ends_in_the_middle_of_the_form_loses_nothing(
    floor: Shop, opened: Callable[..., Page], faults: list[str]
):
    faults.append("401")
    page = opened("owner")
    page.goto("/jobs/new")
    page.get_by_label("Task").fill("quick work after a session's end")
    page.get_by_text("Agent, model, checks").click()
    page.get_by_role("combobox", name="Model").fill("mock/test")
    page.context.clear_cookies()
    page.get_by_role("button", name="Submit the job").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("E-mail address").fill("owner@example.org")
    dialog.locator("input[autocomplete=current-password]").fill("a fake sentence for tests only")
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="quick work after a session's end")).to_be_visible()
    with floor.site.client() as owner:
        jobs = owner.get("/api/v1/jobs").json()["items"]
    assert [job["task"] for job in jobs].count("quick work after a session's end") == 1


def test_an_ended_job_is_replayed_and_forked_with_changes(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("quick to do again")
    floor.ended(job_id)
    page = opened("developer")
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("menuitem", name="Replay from its record").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    expect(page.get_by_text("replays another job")).to_be_visible()
    expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("$0.00 of $5.00")).to_be_visible()

    page.get_by_role("link", name="another job").click()
    expect(page).to_have_url(f"{floor.site.url}/jobs/{job_id}")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("menuitem", name="Fork from a turn, with changes").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Before turn").fill("2")
    dialog.get_by_label("Cost limit (USD)").fill("0.75")
    dialog.get_by_role("button", name="Fork").click()
    expect(page.get_by_text("forked before turn 2 of another job")).to_be_visible()
    fork = floor.ended(page.url.split("/jobs/")[1])
    assert (fork["state"], fork["fork_turn"], fork["limits"]["cost_usd"]) == ("succeeded", 2, "0.75")
    expect(page.get_by_text("of $0.75")).to_be_visible()


def test_a_job_that_runs_is_cancelled_and_keeps_its_page(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("SLOW and not wanted any more")
    page = opened("owner")
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("group", name="Where it stands").get_by_text("cancelled")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline).to_contain_text("Queued for the agent coding")
    expect(timeline).to_contain_text("asked to cancel it")
    expect(timeline).to_contain_text("The job ended: cancelled")


def test_many_are_cancelled_at_once_and_each_says_what_came_of_it(floor: Shop, opened: Callable[..., Page]):
    ids = [floor.submit(f"SLOW work {number}", labels={"batch": "bulk"}) for number in (1, 2)]
    page = opened("owner")
    page.goto("/jobs?q=label:batch=bulk")
    rows = page.get_by_role("table", name="Jobs")
    expect(rows.get_by_role("link", name="SLOW work 1")).to_be_visible()
    page.get_by_role("heading", level=1).click()
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Cancel 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel 2").click()
    expect(page.get_by_role("table", name="The jobs").get_by_text("cancelled")).to_have_count(2, timeout=30_000)
    for each in ids:
        assert floor.ended(each)["state"] == "cancelled"


def test_new_jobs_wait_behind_a_pill(floor: Shop, opened: Callable[..., Page]):
    floor.ended(floor.submit("the first of them", labels={"pill": "yes"}))
    page = opened("owner")
    page.goto("/jobs?q=label:pill=yes")
    expect(page.get_by_role("link", name="the first of them")).to_be_visible()
    floor.submit("the second of them", labels={"pill": "yes"})
    page.get_by_text("1 new").click()
    expect(page.get_by_role("link", name="the second of them")).to_be_visible()


def test_a_viewer_sees_jobs_and_no_button_that_changes_one(floor: Shop, opened: Callable[..., Page]):
    waiting = floor.submit("ASKS-FIRST as somebody else", approvals={"commands": ["deploy*"]})
    ended = floor.submit("quick for the viewer")
    floor.ended(ended)
    page = opened("viewer")
    page.goto("/jobs")
    expect(page.get_by_role("link", name="quick for the viewer")).to_be_visible()
    expect(page.get_by_role("link", name="New job")).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    page.goto(f"/jobs/{ended}")
    expect(page.get_by_text("succeeded, unverified")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    page.goto(f"/jobs/{waiting}")
    expect(page.get_by_text("Whoever has the permission job.approve")).to_be_visible(timeout=60_000)
    for name in ("Approve", "Reject", "Cancel"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    developer = opened("developer")  # the positive control
    developer.goto(f"/jobs/{ended}")
    expect(developer.get_by_role("button", name="Retry")).to_be_visible()


def test_a_waiting_call_is_rejected_with_a_reason_and_the_agent_is_told(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("ASKS-FIRST to deploy", approvals={"commands": ["deploy*"]}, labels={"asks": "no"})
    page = opened("owner")
    page.goto(f"/jobs/{job_id}")
    card = page.get_by_role("region", name="Approval: shell: deploy --to production")
    expect(card.get_by_label("The command")).to_have_text("deploy --to production", timeout=60_000)
    expect(page.get_by_text("waiting: approval")).to_be_visible()
    _photograph(page, "job-approval")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("r")
    page.get_by_label("Reason, for the agent").fill("use the staging server")
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(page.get_by_text("succeeded, unverified")).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Changes").click()
    expect(page.get_by_role("region", name="made.txt", exact=True)).to_contain_text("use the staging server")


def test_what_waits_is_approved_on_its_own_page(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("ASKS-FIRST again", approvals={"commands": ["deploy*"]})
    page = opened("owner")
    page.goto("/approvals")
    card = page.get_by_role("region").filter(has=page.locator(f'a[href="/jobs/{job_id}"]'))
    expect(card).to_be_visible(timeout=60_000)
    _photograph(page, "approvals")
    card.get_by_role("button", name="Approve and remember for this job").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve and remember").click()
    expect(card).to_have_count(0)
    job = floor.ended(job_id)
    assert job["state"] == "succeeded"
    with floor.site.client() as owner:
        answered = owner.get("/api/v1/approvals", params={"job": job_id}).json()["items"]
    assert [(each["state"], each["remember"]) for each in answered] == [("approved", True)]


def test_a_whole_output_is_shown_from_its_end_folded_and_searched(floor: Shop, opened: Callable[..., Page]):
    job_id = floor.submit("LONG-OUTPUT of one call")
    floor.ended(job_id)
    page = opened("owner")
    page.goto(f"/jobs/{job_id}?tab=logs")
    page.get_by_role("combobox", name="Output of").click()
    page.get_by_role("option", name="shell").click()
    log = page.get_by_role("log")
    expect(log).to_have_attribute("data-lines", "60002")
    page.get_by_label("Search").fill("row number 59999")
    expect(page.get_by_text("1 of 1")).to_be_visible()
    expect(log.get_by_text("row number 59999")).to_be_visible()
    log.get_by_role("button", name="Address of line 59999").click()
    expect(page).to_have_url(f"{page.url.split('#')[0]}#L59999")
    address = page.url
    page.get_by_label("Search").fill("red")
    expect(log.get_by_text("red end")).to_be_visible()
    expect(log.get_by_role("button", name="show all 20,000 characters")).to_be_visible()
    page.goto("/jobs")
    page.goto(address)
    expect(page.get_by_role("log").locator("[data-marked]")).to_contain_text("row number 59999")


def test_by_keyboard_alone_from_the_list_into_a_job_and_back(floor: Shop, opened: Callable[..., Page]):
    floor.ended(floor.submit("quick for the keyboard", labels={"keys": "only"}))
    page = opened("owner")
    page.goto("/jobs?q=label:keys=only")
    expect(page.get_by_role("link", name="quick for the keyboard")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="quick for the keyboard")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="quick for the keyboard")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    page.keyboard.press("e")
    expect(page.get_by_role("dialog")).to_contain_text("Do it again?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1, name="New job")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_of_a_job_keeps_anybody_out(floor: Shop, opened: Callable[..., Page], scheme: str, width: int):
    job_id = floor.submit("quick to be looked at", checks=["test -f made.txt"])
    floor.ended(job_id)
    floor.submit("ASKS-FIRST to be looked at", approvals={"commands": ["deploy*"]})
    page = opened("owner", width=width, scheme=scheme)
    tabs = ("activity", "logs", "changes", "artifacts", "cost", "details")
    for path in ("jobs", "jobs/new", "approvals", *(f"jobs/{job_id}?tab={tab}" for tab in tabs)):
        page.goto(f"/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
        assert serious(page) == [], path
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels wider than the window"
        if path.endswith("activity") and (scheme, width) == ("dark", 390):
            _photograph(page, "job-phone")
