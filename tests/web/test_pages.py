"""Each page in both schemes: nothing that keeps anybody out, no violation of the policy, and it fits a phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from web_site import Site, serious

IMAGES = Path(__file__).parents[2] / "docs/guide/images"
PAGES = {
    "welcome": "Welcome",
    "jobs": "Jobs",
    "projects": "Projects",
    "agents": "Agents",
    "agents/coding": "coding",
    "providers": "Providers and models",
    "budgets": "Cost and budgets",
    "notifications": "Notifications",
    "dead-letters": "Dead letters",
    "audit": "Audit",
    "health": "Health",
    "settings/profile": "Profile",
    "settings/security": "Password and factors",
    "settings/sessions": "Sessions",
    "settings/keys": "API keys",
    "settings/organization": "Organization",
    "settings/members": "Members",
    "settings/teams": "Teams",
    "settings/roles": "Roles",
    "settings/secrets": "Secrets",
    "settings/notifications": "Where notifications go",
    "settings/sign-in": "Sign-in and SSO",
}
OPEN_PAGES = {
    "sign-in": "Sign in",
    "forgot": "Forgotten password",
    "setup": "Set up the first owner",
    "invitation": "Accept the invitation",
    "reset": "Choose a new password",
}


def _photograph(page: Page, name: str) -> None:
    """Into the guide, where somebody asks for it: `SCREENSHOTS=1`."""
    if os.environ.get("SCREENSHOTS"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"{name.replace('/', '-')}.png")


def _settled(page: Page, path: str, title: str) -> None:
    page.goto(f"/{path}")
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    expect(page).to_have_title(f"{title} · Shopfloor")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_nobody_out(people: Site, opened: Callable[..., Page], path: str, scheme: str):
    page = opened("owner", scheme=scheme)
    _settled(page, path, PAGES[path])
    if scheme == "light":
        _photograph(page, path)
    assert serious(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", OPEN_PAGES)
def test_an_open_page_keeps_nobody_out(site: Site, opened: Callable[..., Page], path: str, scheme: str):
    page = opened(scheme=scheme)
    _settled(page, path, OPEN_PAGES[path])
    if scheme == "light":
        _photograph(page, path)
    assert serious(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_phone(people: Site, opened: Callable[..., Page], path: str):
    page = opened("owner", width=390)
    _settled(page, path, PAGES[path])
    if path in {"welcome", "jobs", "settings/members"}:
        _photograph(page, f"{path}-390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_is_not_accessible_is_found(people: Site, opened: Callable[..., Page]):
    page = opened("owner")
    _settled(page, "health", "Health")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any("button-name" in each for each in serious(page))


def test_what_the_policy_forbids_is_noticed_and_does_not_run(
    people: Site, opened: Callable[..., Page], faults: list[str]
):
    faults += ["CSP: script-src", "Content Security Policy"]
    page = opened("owner")
    _settled(page, "health", "Health")
    with page.expect_console_message(lambda message: "CSP: script-src" in message.text):
        page.evaluate(
            "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s)"
        )
    assert page.evaluate("window.ran") is None
