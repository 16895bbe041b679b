"""A webhook on this machine that takes nothing it can't verify: real HTTP, and the specification's own arithmetic."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`answers` are given one after the other, the last again and again; `hang`: none comes until it is set free."""

    secret: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=lambda: [(200, b"ok")])
    taken: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    hang: bool = False
    free: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def judge(self, headers: Any, body: bytes) -> tuple[int, bytes]:
        message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.new(key, b".".join([message_id.encode(), timestamp.encode(), body]), hashlib.sha256).digest()
        self.ids.append(message_id)
        if abs(int(timestamp) - time.time()) > 300:
            self.refused.append("stale")
            return 400, b"stale"
        if f"v1,{base64.b64encode(digest).decode()}" not in headers["webhook-signature"].split(" "):
            self.refused.append("signature")
            return 401, b"wrong signature"
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if 200 <= status < 300:
            self.taken.append(json.loads(body))
            self.arrived.set()
        return status, said


@contextmanager
def receiving():
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.asked.set()
            if receiver.hang:
                receiver.free.wait(30)
                return
            status, said = receiver.judge(self.headers, body)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", receiver.url + "/elsewhere")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.free.set()
        server.shutdown()
        server.server_close()
