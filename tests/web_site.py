"""What the browser tests share: the server, who can sign in to it, and what makes a page one for everybody."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "a fake sentence for tests only"
OWNER = "owner@example.org"
ROLES = ("admin", "manager", "developer", "viewer", "auditor", "member")
AXE = Path(__file__).parents[1] / "web/node_modules/axe-core/axe.min.js"
WATCH = (
    "document.addEventListener('securitypolicyviolation', e => "
    "console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"
)


@dataclass
class Site:
    """`shopfloor up`, and who can sign in to it."""

    url: str
    setup_link: str
    mock_url: str
    home: Path
    states: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def client(self) -> httpx2.Client:
        """As the owner's key."""
        key = (self.home / "admin.key").read_text().strip()
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


@contextmanager
def process(*words: str, ends: str, env: dict[str, str]) -> Iterator[str]:
    """One of ours; what it says until the line with `ends`."""
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        try:
            said = ""
            assert process.stdout
            for line in process.stdout:
                said += line
                if ends in line:
                    break
            else:
                raise AssertionError(f"it ended: {said}")
            # A pipe that nobody reads would be full soon, and the server would wait on its own log.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield said
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=40)


def state_of(browser: Browser, site: Site, role: str) -> dict[str, Any]:
    """Signed in once for all tests: each password costs the server 50 ms, and attempts are counted."""
    if role not in site.states:
        context = browser.new_context(base_url=site.url)
        sign_in(context.new_page(), f"{role}@example.org")
        site.states[role] = context.storage_state()
        context.close()
    return site.states[role]


def sign_in(page: Page, email: str, password: str = PASSWORD, *, at: str = "/sign-in") -> None:
    page.goto(at)
    page.get_by_label("E-mail address").fill(email)
    page.locator("input[autocomplete=current-password]").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Account of").wait_for()


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody out: serious and critical, against WCAG 2.2 AA."""
    page.evaluate(AXE.read_text())
    return page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
        ".then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
        ".map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ') + ' ' + n.failureSummary).join(' | ')))"
    )
