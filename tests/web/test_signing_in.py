"""How people get in, stay in, and lose nothing when a session ends."""

from __future__ import annotations

from collections.abc import Callable

import pyotp
from playwright.sync_api import Page, expect

from web_site import PASSWORD, Site, sign_in

REFUSED = "401 (Unauthorized)"


def test_a_wrong_password_says_what_to_do(people: Site, opened: Callable[..., Page], faults: list[str]):
    faults.append(REFUSED)
    page = opened()
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill("viewer@example.org")
    page.locator("input[autocomplete=current-password]").fill("a wrong sentence")
    page.get_by_role("button", name="Sign in", exact=True).click()

    expect(page.get_by_role("alert")).to_contain_text("Check both")
    expect(page.get_by_role("alert")).to_contain_text("Request")
    expect(page.get_by_label("E-mail address")).to_have_value("viewer@example.org")


def test_an_address_that_wants_a_sign_in_is_where_one_comes_out(
    people: Site, opened: Callable[..., Page], faults: list[str]
):
    faults.append(REFUSED)
    page = opened()
    sign_in(page, "viewer@example.org", at="/agents/coding?x=1#tools")
    expect(page.get_by_role("heading", level=1, name="coding")).to_be_visible()


def test_no_return_leads_to_another_site(people: Site, opened: Callable[..., Page]):
    page = opened()
    sign_in(page, "viewer@example.org", at="/sign-in?return_to=//evil.example/x")
    assert page.url.startswith(people.url)


def test_an_invitation_leads_in(people: Site, opened: Callable[..., Page]):
    with people.client() as owner:
        made = owner.post("/api/v1/invitations", json={"email": "new@example.org", "role": "developer"}).json()
    page = opened()
    page.goto(made["link"])
    page.get_by_label("Your name").fill("New")
    page.locator("input[autocomplete=new-password]").fill(PASSWORD)
    assert "#" not in page.url, "the token is out of the address bar"
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_role("button", name="Account of New")).to_be_visible()


def test_a_link_that_was_used_says_so(people: Site, opened: Callable[..., Page], faults: list[str]):
    faults.append("400")
    faults.append("403")
    faults.append("404")
    faults.append("410")
    page = opened()
    page.goto(people.setup_link)
    page.get_by_label("Your name").fill("Second")
    page.get_by_label("E-mail address").fill("second@example.org")
    page.locator("input[autocomplete=new-password]").fill(PASSWORD)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("alert")).to_contain_text("link")


def test_a_second_factor_is_set_up_and_asked_for(people: Site, opened: Callable[..., Page]):
    page = opened()
    sign_in(page, "manager@example.org")
    page.goto("/settings/security")
    page.get_by_role("button", name="Set up", exact=True).click()
    page.get_by_role("button", name="Set up an authenticator app").click()
    secret = page.locator("pre").first.inner_text().strip()
    page.get_by_label("Code that the app shows").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Confirm").click()
    codes = page.locator("pre").first.inner_text().split()
    page.get_by_role("button", name="I have kept them").click()
    expect(page.get_by_text("set up", exact=True)).to_be_visible()

    again = opened()
    again.goto("/sign-in")
    again.get_by_label("E-mail address").fill("manager@example.org")
    again.locator("input[autocomplete=current-password]").fill(PASSWORD)
    again.get_by_role("button", name="Sign in", exact=True).click()
    again.get_by_role("button", name="Use a recovery code").click()
    again.get_by_label("Recovery code").fill(codes[0])
    again.get_by_role("button", name="Go on").click()
    expect(again.get_by_role("button", name="Account of Manager")).to_be_visible()


def test_a_session_that_ends_in_the_middle_of_a_form_loses_nothing(
    people: Site, opened: Callable[..., Page], faults: list[str]
):
    faults.append(REFUSED)
    page = opened()
    sign_in(page, "admin@example.org")
    page.goto("/projects")
    page.get_by_role("button", name="New project").click()
    page.get_by_label("Short name").fill("kept")
    page.get_by_label("Name", exact=True).fill("What I typed")
    _end_sessions(people, "admin@example.org")
    page.get_by_role("button", name="Make it").click()

    again = page.get_by_role("dialog", name="Your session has ended")
    again.get_by_label("E-mail address").fill("admin@example.org")
    again.locator("input[autocomplete=current-password]").fill(PASSWORD)
    again.get_by_role("button", name="Sign in", exact=True).click()

    expect(page.get_by_role("link", name="What I typed")).to_be_visible()
    with people.client() as owner:
        assert owner.get("/api/v1/projects/kept").json()["name"] == "What I typed"


def test_two_tabs_share_a_session_and_its_end(people: Site, opened: Callable[..., Page], faults: list[str]):
    faults.append(REFUSED)
    first = opened()
    sign_in(first, "auditor@example.org")
    second = first.context.new_page()
    second.goto("/health")
    expect(second.get_by_role("heading", level=1, name="Health")).to_be_visible()
    first.get_by_role("button", name="Account of").click()
    first.get_by_role("menuitem", name="Sign out").click()
    expect(first.get_by_role("heading", level=1, name="Sign in")).to_be_visible()
    second.goto("/agents")
    expect(second.get_by_role("heading", level=1, name="Sign in")).to_be_visible()


def test_each_role_sees_what_it_may(people: Site, opened: Callable[..., Page]):
    shown = {}
    for role in ("owner", "admin", "developer", "viewer", "member"):
        page = opened(role)
        page.goto("/settings/profile")
        page.get_by_role("heading", level=1, name="Profile").wait_for()
        pages = page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
        sections = page.get_by_role("navigation", name="Settings").get_by_role("link").all_inner_texts()
        shown[role] = ("Audit" in pages, "Jobs" in pages, "Secrets" in sections, "Sign-in and SSO" in sections)

    assert shown == {
        "owner": (True, True, True, True),
        "admin": (True, True, True, True),
        "developer": (False, True, False, False),
        "viewer": (False, True, False, False),
        "member": (False, False, False, False),
    }


def _end_sessions(site: Site, email: str) -> None:
    with site.client() as owner:
        members = owner.get("/api/v1/members").json()["items"]
        user_id = next(each["id"] for each in members if each["email"] == email)
        owner.delete(f"/api/v1/members/{user_id}/sessions").raise_for_status()
    site.states.pop(email.partition("@")[0], None)
