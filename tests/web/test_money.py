"""Budgets, channels, dead letters and providers in the browser, against the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from web_site import Site, serious

HOOK = "https://hooks.example.org/shopfloor"


@pytest.fixture
def budget(people: Site) -> Iterator[str]:
    """A budget of a project of its own, a hundred dollars a month; its id."""
    slug = f"money-{uuid4().hex[:8]}"
    with people.client() as owner:
        owner.post("/api/v1/projects", json={"slug": slug, "name": slug}).raise_for_status()
        body = {"scope": {"type": "project", "id": slug}, "period": "month", "limit_usd": "100"}
        made = owner.post("/api/v1/budgets", json=body).raise_for_status().json()
        yield made["id"]
        owner.delete(f"/api/v1/budgets/{made['id']}")


def test_a_budget_is_set_and_stands_in_the_list(people: Site, opened: Callable[..., Page]):
    page = opened("owner")
    page.goto("/budgets")
    page.get_by_role("button", name="New budget").first.click()
    form = page.get_by_role("dialog")
    form.get_by_label("Of whom").select_option("agent")
    form.get_by_label("Its name").fill("coding")
    form.get_by_label("For", exact=True).select_option("day")
    form.get_by_label("Limit in US dollars").fill("12.5")
    form.get_by_role("button", name="Set it").click()
    row = page.get_by_role("row").filter(has_text="coding a day")
    expect(row).to_contain_text("$0.00 spent of $12.50 (0 %)")
    expect(row).to_contain_text("ok")
    with people.client() as owner:
        [made] = owner.get("/api/v1/budgets", params={"scope": "agent"}).json()["items"]
        owner.delete(f"/api/v1/budgets/{made['id']}").raise_for_status()
    assert (made["limit_usd"], made["period"], made["thresholds"]) == ("12.5", "day", [80, 90, 95, 100])


def test_what_the_server_refuses_of_a_budget_is_said_in_its_form(
    people: Site, opened: Callable[..., Page], faults: list[str]
):
    faults.append("status of 4")
    page = opened("owner")
    page.goto("/budgets")
    page.get_by_role("button", name="New budget").first.click()
    form = page.get_by_role("dialog")
    form.get_by_label("Of whom").select_option("project")
    form.get_by_label("Its slug").fill("there-is-none")
    form.get_by_label("Limit in US dollars").fill("1")
    form.get_by_role("button", name="Set it").click()
    expect(form.get_by_role("alert")).to_contain_text("there-is-none")


def test_a_budget_is_raised_for_a_while_and_the_raise_is_ended(people: Site, opened: Callable[..., Page], budget: str):
    page = opened("owner")
    page.goto(f"/budgets/{budget}")
    page.get_by_role("button", name="Raise for a while").click()
    form = page.get_by_role("dialog")
    form.get_by_label("By US dollars").fill("50")
    form.get_by_label("Why").fill("A release")
    form.get_by_role("button", name="Raise it").click()
    expect(page.get_by_text("$0.00 spent of $100.00 + $50.00 raised")).to_be_visible()
    page.get_by_role("button", name="End: A release").click()
    page.get_by_role("button", name="End it").click()
    expect(page.get_by_text("$0.00 spent of $100.00 (0 %)")).to_be_visible()


def test_a_change_that_another_one_came_before_shows_theirs_and_overwrites_nothing(
    people: Site, opened: Callable[..., Page], budget: str, faults: list[str]
):
    faults.append("status of 412")
    page = opened("owner")
    page.goto(f"/budgets/{budget}")
    page.get_by_role("button", name="Change", exact=True).click()
    form = page.get_by_role("dialog")
    form.get_by_label("Limit in US dollars").fill("200")
    with people.client() as owner:
        owner.patch(f"/api/v1/budgets/{budget}", json={"limit_usd": "150"}).raise_for_status()
        form.get_by_role("button", name="Change it").click()
        expect(form.get_by_text("$150.00, refuses, pauses")).to_be_visible()
        assert owner.get(f"/api/v1/budgets/{budget}").json()["limit_usd"] == "150"
        form.get_by_role("button", name="Keep what I filled in").click()
        form.get_by_role("button", name="Change it").click()
        expect(page.get_by_text("$0.00 spent of $200.00")).to_be_visible()
        assert owner.get(f"/api/v1/budgets/{budget}").json()["limit_usd"] == "200"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_budgets_page_keeps_nobody_out(people: Site, opened: Callable[..., Page], budget: str, scheme: str):
    page = opened("owner", scheme=scheme, width=390)
    page.goto(f"/budgets/{budget}")
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_who_may_only_read_budgets_is_offered_no_change(people: Site, opened: Callable[..., Page], budget: str):
    page = opened("auditor")
    page.goto(f"/budgets/{budget}")
    expect(page.get_by_text("$0.00 spent of $100.00")).to_be_visible()
    expect(page.get_by_role("button", name="Raise for a while")).to_have_count(0)
    page.goto("/budgets")
    expect(page.get_by_role("table", name="Budgets")).to_be_visible()
    expect(page.get_by_role("button", name="New budget")).to_have_count(0)


def test_who_may_not_read_budgets_does_not_find_them(people: Site, opened: Callable[..., Page]):
    page = opened("member")
    page.goto("/settings/profile")
    expect(page.get_by_role("heading", level=1, name="Profile")).to_be_visible()
    expect(page.get_by_role("link", name="Settings")).to_be_visible()
    expect(page.get_by_role("link", name="Cost and budgets")).to_have_count(0)


def test_the_secret_of_a_webhook_is_shown_once(people: Site, opened: Callable[..., Page]):
    page = opened("owner")
    page.goto("/settings/notifications")
    page.get_by_role("button", name="New channel").first.click()
    form = page.get_by_role("dialog")
    form.get_by_label("Kind").select_option("webhook")
    form.get_by_label("URL").fill(HOOK)
    form.get_by_role("button", name="Add it").click()
    expect(page.get_by_label("The secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_role("row").filter(has_text=HOOK)).to_contain_text("budget.alert, budget.paused")
    page.reload()
    expect(page.get_by_role("row").filter(has_text=HOOK)).to_be_visible()
    expect(page.get_by_text("whsec_")).to_have_count(0)
    page.get_by_role("button", name=f"Deliveries: {HOOK}").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_role("table", name="Deliveries").get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name=f"Remove: {HOOK}").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No channel yet")).to_be_visible()


def test_limits_of_a_provider_are_set_and_taken_away(people: Site, opened: Callable[..., Page]):
    name = f"limits-{uuid4().hex[:6]}"
    body = {"kind": "mock", "name": name, "api_key": "sk-mock-fake", "base_url": f"{people.mock_url}/v1"}
    with people.client() as owner:
        made = owner.post("/api/v1/providers", json=body).raise_for_status().json()
        page = opened("owner")
        page.goto("/providers")
        row = page.get_by_role("table", name="Providers").get_by_role("row").filter(has_text=name)
        expect(row).to_contain_text("called")
        expect(row).to_contain_text("no limits of your own")
        for given, kept in (("7", 7), ("", None)):
            page.get_by_role("button", name=f"Limits: {name}").click()
            page.get_by_label("Calls at once").fill(given)
            page.get_by_role("button", name="Set them").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
            assert owner.get(f"/api/v1/providers/{made['id']}").json()["limits"]["concurrency"] == kept
        owner.delete(f"/api/v1/providers/{made['id']}").raise_for_status()
