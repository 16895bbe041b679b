"""A real server with its own database and the mock provider, and Chromium in front of it.

A test fails at its end for any violation of the content security policy and any error on the page's console.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shopfloor.apps.webui.files import BUILT

pytest.importorskip("playwright", reason="the browser tests need pytest-playwright")
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from web_site import OWNER, PASSWORD, ROLES, WATCH, Site, process, state_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


def pytest_runtest_setup() -> None:
    missing = "" if CHROMIUM else "Chromium is missing: scripts/services chromium"
    missing = missing or ("" if (BUILT / "index.html").is_file() else "the web app is not built: make web")
    if missing and os.environ.get("NEED_DOCKER"):  # `make test-web`: nothing tried must not look green
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    # Not pytest's own folder: every run of it is closed again to the database's own user.
    folder = tempfile.TemporaryDirectory(prefix="sf-web-", ignore_cleanup_errors=True)
    os.chmod(folder.name, 0o755)  # noqa: PTH101 - one quick call
    home = Path(folder.name) / "home"
    own = {name: value for name, value in os.environ.items() if not name.startswith("SHOPFLOOR_")}
    env = own | {"SHOPFLOOR_HOME": str(home), "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE": "true"}
    mock = ("shopfloor.testing.mock_provider", "--scenario", "demo", "--port", "0")
    with process(*mock, ends="http://", env=env) as mocking:
        mock_url = re.search(r"http://[\d.:]+", mocking).group(0)
        with process("shopfloor", "up", "--port", "0", ends="Ctrl-C", env=env) as said:
            yield Site(
                re.search(r"up at (http://\S+)", said).group(1), re.search(r"http://\S+/setup#\S+", said).group(0),
                mock_url, home,
            )  # fmt: skip
    folder.cleanup()


@pytest.fixture(scope="session")
def people(site: Site) -> Site:
    """The site with an owner, and somebody of each other role, all with PASSWORD."""
    with httpx2.Client(base_url=site.url, headers={"Origin": site.url, "Sec-Fetch-Site": "same-origin"}) as browser:
        new = {"token": site.setup_link.partition("#")[2], "name": "Owner", "email": OWNER, "password": PASSWORD}
        browser.post("/api/v1/auth/setup", json=new).raise_for_status()
        with site.client() as owner:
            for role in ROLES:
                asked = owner.post("/api/v1/invitations", json={"email": f"{role}@example.org", "role": role})
                token = asked.raise_for_status().json()["link"].partition("#")[2]
                accepted = {"token": token, "name": role.capitalize(), "password": PASSWORD}
                browser.post("/api/v1/auth/invitations/accept", json=accepted).raise_for_status()
    return site


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {"executable_path": CHROMIUM, "args": ["--no-sandbox"] if os.geteuid() == 0 else []}


@pytest.fixture
def faults() -> list[str]:
    """What a test expects on the console beside nothing: parts of the messages."""
    return []


@pytest.fixture
def opened(browser: Browser, site: Site, faults: list[str]) -> Iterator[Callable[..., Page]]:
    """`opened(role)`: a page of somebody who is signed in; without a role, of nobody."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def open_page(role: str | None = None, *, width: int = 1280, scheme: str = "light") -> Page:
        state = state_of(browser, site, role) if role else None
        context = browser.new_context(
            base_url=site.url, storage_state=state, viewport={"width": width, "height": 800}, color_scheme=scheme,
            reduced_motion="reduce", locale="en-US", timezone_id="UTC",
        )  # fmt: skip
        contexts.append(context)
        context.set_default_timeout(15_000)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("console", lambda message: said.append(_told(message)) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(f"page error: {error}"))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [each for each in said if not any(part in each for part in faults)] == []


def _told(message: ConsoleMessage) -> str:
    return f"{message.text} ({message.location.get('url', '')})"
