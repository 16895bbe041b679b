"""What the page of a job costs a browser while 100,000 lines come in at 10,000 a second.

python benchmarks/web_logs.py [--lines 100000] [--rate 10000]      (needs pytest-playwright, Chromium and `make web`)
The built app in Chromium; the server is a fake that answers what the page asks and sends the events of one call. A
frame is the time between two calls of requestAnimationFrame; the heap is what JavaScript holds after a collection.
Each 3,000 lines the connection is cut, so that lost and doubled lines would show.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, WebSocketRoute, sync_playwright

from machine import report

BUILT = Path(__file__).parents[1] / "src/shopfloor/apps/webui/dist"
JOB = "01900000-0000-7000-8000-000000000001"
AT = "2026-01-01T00:00:00Z"
LINE_CHARS = 60
LINES_AN_EVENT = 64
CUT_EACH_LINES = 3_000
MOST_FRAME_MS = 50
MOST_HEAP_MIB = 60
WATCH_FRAMES = """
window.frames_ms = [];
let last = 0;
(function frame(now) { if (last) window.frames_ms.push(now - last); last = now; requestAnimationFrame(frame); })();
"""


class FakeServer:
    """Answers what the page asks, and holds the events of one call that puts out `lines` lines."""

    def __init__(self, lines: int, rate: int) -> None:
        self.rate = rate
        self.lines = lines
        self.events = [event(1, "job.running", {"run": 1, "worker": "w"}), event(2, "tool.started", {
            "turn": 1, "call": "c", "tool": "shell", "arguments": {"command": "make everything"}})]  # fmt: skip
        for first in range(1, lines + 1, LINES_AN_EVENT):
            text = "".join(line(n) for n in range(first, min(lines, first + LINES_AN_EVENT - 1) + 1))
            data = {"call_id": "c", "text": text, "skipped_bytes": 0}
            self.events.append(event(len(self.events) + 1, "tool.output", data))
        self.began_s = 0.0
        self.cuts = 0
        self.sockets: list[tuple[WebSocketRoute, int]] = []

    def answer(self, route: Route) -> None:
        """A built file, or what the API would say."""
        path = route.request.url.partition("//")[2].partition("/")[2].partition("?")[0]
        if path.startswith("api/"):
            route.fulfill(json=answer_to(path.removeprefix("api/v1/")))
            return
        file = BUILT / path if (BUILT / path).is_file() else BUILT / "index.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        route.fulfill(body=file.read_bytes(), content_type=kind)

    def connected(self, socket: WebSocketRoute) -> None:
        """The page follows the job, from where it asks to."""
        after = int(socket.url.partition("after=")[2].partition("&")[0])
        self.sockets = [(socket, after)]
        self.began_s = self.began_s or time.monotonic()

    def flood(self, page: Page) -> float:
        """Send every event when it is due, over whatever connection stands; the seconds it took."""
        cut_at = CUT_EACH_LINES
        while not self.sockets or self.sockets[0][1] < len(self.events):
            page.wait_for_timeout(10)  # the page's own messages are handled meanwhile
            if not self.sockets:
                continue
            socket, sent = self.sockets[0]
            due = int((time.monotonic() - self.began_s) * self.rate / LINES_AN_EVENT) + 2
            for each in self.events[sent : min(due, len(self.events))]:
                socket.send(json.dumps(each))
                sent += 1
            self.sockets = [(socket, sent)]
            if sent * LINES_AN_EVENT >= cut_at and sent < len(self.events):
                cut_at += CUT_EACH_LINES
                self.cuts += 1
                self.sockets = []
                socket.close(code=1011, reason="cut")
        return time.monotonic() - self.began_s


def event(seq: int, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"seq": seq, "kind": kind, "data": data, "at": AT}


def line(n: int) -> str:
    return f"{n:>7} ".ljust(LINE_CHARS - 1, "abcdefgh"[n % 8]) + "\n"


def answer_to(path: str) -> Any:
    """What the API would say of a job that runs."""
    if path == f"jobs/{JOB}":
        return A_JOB
    return ANSWERS.get(path, {"items": [], "next_cursor": None})


ANSWERS: dict[str, Any] = {
    "me": {"id": JOB, "name": "Owner", "email": None, "permissions": []},
    "me/permissions": {"permissions": ["job.read"], "projects": []},
    "auth/csrf": {"csrf_token": "fake"},
    "auth/ws-ticket": {"ticket": "fake"},
    f"jobs/{JOB}/runs": [],
}
_NULL = (
    "repo parent_id fork_turn waiting_reason not_before cancel_requested_at ending verified error output baseline "
    "check_results base_commit result_commit changes push_branch pushed finished_at"
)
A_JOB: dict[str, Any] = dict.fromkeys(_NULL.split()) | {
    "id": JOB, "project_id": JOB, "agent": "coding", "task": "make everything", "model": "fake/model", "checks": [],
    "limits": {"cost_usd": "5", "turns": 100, "timeout_s": 3600}, "network": [], "labels": {}, "priority": 0,
    "mode": "run", "state": "running", "approvals": {}, "cost_usd": "0", "cost_nanos": 0, "unknown_nanos": 0,
    "usage": {}, "turns": 1, "runs": 1, "crashes": 0, "last_seq": 0, "version": 1, "created_at": AT, "updated_at": AT,
    "started_at": AT,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=10_000)
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    own = ["--no-sandbox"] if os.geteuid() == 0 else []
    server = FakeServer(asked.lines, asked.rate)
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=own) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH_FRAMES)
        page.route("**/*", server.answer)
        page.route_web_socket("**/stream?**", server.connected)
        page.goto(f"http://localhost:1/jobs/{JOB}?tab=logs&step=1.c")
        page.get_by_text("live", exact=True).wait_for()
        page.evaluate("window.frames_ms.length = 0")
        took_s = server.flood(page)
        page.locator(f'[role=log][data-lines="{asked.lines}"]').wait_for(timeout=30_000)
        held = int(page.get_by_role("log").get_attribute("data-lines") or 0)
        frames: list[float] = page.evaluate("window.frames_ms")
        shown = page.get_by_role("log").locator("[data-index]").last.inner_text()
        tools = page.context.new_cdp_session(page)
        tools.send("HeapProfiler.collectGarbage")
        heap_mib = tools.send("Runtime.getHeapUsage")["usedSize"] / 2**20
    assert f"{asked.lines:>7} ".strip() in shown, shown
    frames.sort()
    p95 = frames[int(len(frames) * 0.95)]
    report(
        "web_logs",
        {
            "lines": asked.lines,
            "lines_per_s": round(asked.lines / took_s),
            "frame_ms": {
                "median": round(statistics.median(frames), 1),
                "p95": round(p95, 1),
                "worst": round(frames[-1], 1),
            },
            "frame_ms_reach": MOST_FRAME_MS,
            "heap_mib": round(heap_mib, 1),
            "heap_reach_mib": MOST_HEAP_MIB,
            "cuts": server.cuts,
            "lines_held": held,  # one more or less would be one doubled or lost
            "within_reach": p95 <= MOST_FRAME_MS and heap_mib <= MOST_HEAP_MIB,
        },
    )


if __name__ == "__main__":
    main()
