"""What the browser tests of jobs share: a server with scenes of its own that can be killed and started anew."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from sandbox_on_docker import require_image
from web_site import OWNER, PASSWORD, Site, process

SCENES = r"""
prices: {"*": {input: "3", cache_read: "0.30", output: "15"}}
scenes:
  - name: story
    when: {first_message_contains: STORY}
    replies:
      - text: "First I count. <b>Not bold</b> <script>document.title = 'taken over'</script>"
        tool_calls:
          - name: shell
            arguments: {command: "seq 1 30 | sed 's/^/counted /'; printf '<img src=x onerror=alert(1)>\\n'; sleep 2"}
      - text: Now I write the file.
        tool_calls: [{name: write_file, arguments: {path: notes/made.txt, content: "hello\nworld\n"}}]
      - tool_calls: [{name: finish, arguments: from-schema}]
  - name: long output
    when: {first_message_contains: LONG-OUTPUT}
    replies:
      - tool_calls:
          - name: shell
            arguments:
              command: >-
                seq 1 60000 | sed 's/^/row number /'; head -c 20000 /dev/zero | tr '\0' x; echo; printf
                '\033[31mred\033[0m end\n'
      - tool_calls: [{name: finish, arguments: from-schema}]
  - name: asks first
    when: {first_message_contains: ASKS-FIRST}
    replies:
      - tool_calls: [{name: shell, arguments: {command: "deploy --to production"}}]
      - tool_calls: [{name: write_file, arguments: {path: made.txt, content: "{{ last_tool_result }}"}}]
      - tool_calls: [{name: finish, arguments: from-schema}]
  - name: many turns
    when: {first_message_contains: MANY-TURNS}
    replies:
      - {latency_ms: 700, text: turn one, tool_calls: [{name: shell, arguments: {command: "seq 1 40; sleep 1"}}]}
      - {latency_ms: 700, text: turn two, tool_calls: [{name: shell, arguments: {command: "seq 41 80; sleep 1"}}]}
      - {latency_ms: 700, text: turn three, tool_calls: [{name: shell, arguments: {command: "seq 81 120; sleep 1"}}]}
      - {latency_ms: 700, text: turn four, tool_calls: [{name: shell, arguments: {command: "seq 121 160; sleep 1"}}]}
      - {latency_ms: 700, tool_calls: [{name: finish, arguments: from-schema}]}
  - name: slow
    when: {first_message_contains: SLOW}
    replies:
      - {text: at last, latency_ms: 60000}
  - name: quick
    replies:
      - tool_calls: [{name: write_file, arguments: {path: made.txt, content: "hello\n"}}]
      - tool_calls: [{name: finish, arguments: from-schema}]
"""


@dataclass
class Shop:
    """`shopfloor up` on a port that stays the same when it is killed and started again."""

    site: Site
    env: dict[str, str]
    port: int
    started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def start(self) -> str:
        """What it says until it is up."""
        words = [sys.executable, "-m", "shopfloor", "up", "--port", str(self.port)]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env)
        self.started.append(server)
        said = ""
        assert server.stdout
        for line in server.stdout:
            said += line
            if "Ctrl-C" in line:
                threading.Thread(target=server.stdout.read, daemon=True).start()
                return said
        raise AssertionError(f"it ended: {said}")

    def kill(self) -> None:
        """As a machine that fails: it says goodbye to nobody."""
        self.started[-1].kill()
        self.started[-1].wait(timeout=20)

    def stop(self) -> None:
        server = self.started[-1]
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)

    def submit(self, task: str, **fields: Any) -> str:
        new = {"task": task, "model": "mock/test"} | fields
        with self.site.client() as owner:
            return owner.post("/api/v1/jobs", json=new).raise_for_status().json()["id"]

    def job(self, job_id: str) -> dict[str, Any]:
        with self.site.client() as owner:
            return owner.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()

    def ended(self, job_id: str, within_s: float = 90) -> dict[str, Any]:
        """The job, once it has ended: its own stream tells."""
        ends = time.monotonic() + within_s
        with self.site.client() as owner:
            headers = {"Accept": "text/event-stream"}
            with owner.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=headers, timeout=within_s) as events:
                for _ in events.iter_lines():
                    assert time.monotonic() < ends, f"it has not ended within {within_s} s"
        return self.job(job_id)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with self.site.client() as owner:
            while True:
                after = found[-1]["seq"] if found else 0
                page = owner.get(f"/api/v1/jobs/{job_id}/events", params={"after": after, "limit": 200}).json()["items"]
                if not page:
                    return found
                found += page


def need_sandbox() -> None:
    """Skip where no sandbox can be. In a thread of its own: Playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(require_image).result()


@contextmanager
def shop() -> Iterator[Shop]:
    """A server with the scenes above, an owner, a viewer, and the mock as a provider with a price."""
    # Not pytest's own folder: every run of it is closed again to the database's own user.
    folder = tempfile.TemporaryDirectory(prefix="sf-jobs-", ignore_cleanup_errors=True)
    os.chmod(folder.name, 0o755)  # noqa: PTH101 - one quick call
    home = Path(folder.name) / "home"
    scenes = Path(folder.name) / "scenes.yaml"
    scenes.write_text(SCENES)
    own = {name: value for name, value in os.environ.items() if not name.startswith("SHOPFLOOR_")}
    limits = '{"memory_mib": 512, "workspace_mib": 64, "workspace_inodes": 4096}'
    env = own | {
        "SHOPFLOOR_HOME": str(home),
        "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE": "true",
        "SHOPFLOOR_JOBS__HEARTBEAT_LIMIT_S": "3",
        "SHOPFLOOR_SANDBOX__LIMITS": limits,
    }
    mock = ("shopfloor.testing.mock_provider", "--scenario", str(scenes), "--port", "0")
    with process(*mock, ends="http://", env=own) as mocking:
        found = re.search(r"http://[\d.:]+", mocking)
        assert found
        made = Shop(Site("", "", found.group(0), home), env, _free_port())
        try:
            said = made.start()
            made.site.url = f"http://127.0.0.1:{made.port}"
            link = re.search(r"http://\S+/setup#\S+", said)
            assert link
            made.site.setup_link = link.group(0)
            _people(made.site)
            yield made
        finally:
            made.stop()
    folder.cleanup()


def _people(site: Site) -> None:
    headers = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    with httpx2.Client(base_url=site.url, headers=headers) as browser, site.client() as owner:
        new = {"token": site.setup_link.partition("#")[2], "name": "Owner", "email": OWNER, "password": PASSWORD}
        browser.post("/api/v1/auth/setup", json=new).raise_for_status()
        for role in ("developer", "viewer"):
            asked = owner.post("/api/v1/invitations", json={"email": f"{role}@example.org", "role": role})
            token = asked.raise_for_status().json()["link"].partition("#")[2]
            accepted = {"token": token, "name": role.capitalize(), "password": PASSWORD}
            browser.post("/api/v1/auth/invitations/accept", json=accepted).raise_for_status()
        provider = {
            "name": "mock",
            "kind": "openai-compatible",
            "base_url": f"{site.mock_url}/v1",
            "api_key": "sk-mock-web",
        }
        owner.post("/api/v1/providers", json=provider).raise_for_status()
        for unit, usd in {"input": "3", "output": "15", "cache-read": "0.3"}.items():
            price = {"provider": "mock", "model": "test", "unit": unit, "usd_per_million": usd}
            owner.post("/api/v1/prices", json=price).raise_for_status()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
