"""A real Git server on loopback: `git http-backend` behind the standard library's HTTP server."""

import base64
import contextlib
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class GitServer:
    """Serves the bare repositories below `root`. `requests` holds (method, path, authorization) of every request."""

    def __init__(self, root: Path):
        self.root = root
        self.requests: list[tuple[str, str, str | None]] = []
        self.credentials: tuple[str, str] | None = None
        self.redirect_to: str | None = None
        self.answer_with: int | None = None
        self.hang = threading.Event()
        self.hang.set()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, name: str = "origin.git", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{name}"

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: GitServer
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def log_message(self, *args):
        pass

    def _serve(self):
        owner = self.owner
        owner.requests.append((self.command, self.path, self.headers.get("Authorization")))
        body = self._body()
        owner.hang.wait(30)
        if owner.answer_with is not None:
            return self._short(owner.answer_with)
        if owner.redirect_to is not None:
            return self._short(302, "Location", owner.redirect_to + self.path)
        if not self._authorized():
            return self._short(401, "WWW-Authenticate", 'Basic realm="git"')
        return self._backend(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _authorized(self) -> bool:
        if self.owner.credentials is None:
            return True
        pair = ":".join(self.owner.credentials).encode()
        return self.headers.get("Authorization") == f"Basic {base64.b64encode(pair).decode()}"

    def _short(self, status: int, name: str = "X-None", value: str = "1"):
        self.send_response(status)
        self.send_header(name, value)
        self.end_headers()

    def _backend(self, body: bytes):
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.owner.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": "127.0.0.1",
        }
        with (
            subprocess.Popen(
                ["git", "-c", "safe.directory=*", "http-backend"],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as backend,
            contextlib.suppress(BrokenPipeError, ConnectionResetError),
        ):
            threading.Thread(target=_feed, args=(backend.stdin, body), daemon=True).start()
            self._relay(backend.stdout)

    def _relay(self, output):
        headers, status = [], 200
        while line := output.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        while piece := output.read(65_536):
            self.wfile.write(piece)


def _feed(pipe, body: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write(body)
        pipe.close()
