"""How the web app is served: what browsers may keep, what may run, and that no address leads out of its folder."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.apps.webui.files import built_files
from shopfloor.apps.webui.serve import WebUi
from shopfloor.infra.web.plumbing import install_plumbing

PAGE = '<!doctype html><meta property="csp-nonce" nonce="__CSP_NONCE__"><script nonce="__CSP_NONCE__"></script>'
SCRIPT = b"console.log('a built file')" * 50
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / ".vite").mkdir()
    (dist / "index.html").write_text(PAGE)
    (dist / "favicon.svg").write_text("<svg/>")
    (dist / ".vite/manifest.json").write_text("{}")
    (dist / "assets/index-abc123.js").write_bytes(SCRIPT)
    (dist / "assets/index-abc123.js.gz").write_bytes(gzip.compress(SCRIPT))
    (dist / "assets/index-abc123.js.br").write_bytes(b"as if squeezed by brotli")
    (tmp_path / "secret.txt").write_text("outside")
    return dist


def _client(folder: Path) -> httpx2.AsyncClient:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(WebUi, files=built_files(folder))
    install_plumbing(app)

    @app.get("/api/v1/things")
    async def things() -> dict[str, bool]:
        return {"of_the_api": True}

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost")


async def test_any_address_of_the_app_is_its_page_with_a_nonce_of_its_own(folder: Path):
    client = _client(folder)
    nonces = set()
    for path in ("/", "/jobs/019a?tab=logs", "/settings/keys"):
        answer = await client.get(path, headers=HTML)
        nonce = re.search(r'csp-nonce" nonce="([^"]+)"', answer.text).group(1)
        policy = answer.headers["content-security-policy"]
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
        assert f"script-src 'self' 'nonce-{nonce}';" in policy
        assert "unsafe" not in policy
        assert "__CSP_NONCE__" not in answer.text
        assert answer.headers["x-frame-options"] == "DENY"
        nonces.add(nonce)
    assert len(nonces) == 3


async def test_files_with_a_hash_in_their_name_are_kept_for_good_and_others_are_asked_about(folder: Path):
    client = _client(folder)
    hashed = await client.get("/assets/index-abc123.js", headers={"Accept-Encoding": "identity"})
    plain = await client.get("/favicon.svg")

    assert hashed.content == SCRIPT
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert hashed.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (plain.headers["cache-control"], plain.headers["content-type"]) == ("no-cache", "image/svg+xml")
    again = await client.get("/favicon.svg", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None), ("br;q=0.0", None)],
)
async def test_the_best_twin_that_the_browser_takes_is_sent(folder: Path, accepted: str, sent: str | None):
    client = _client(folder)
    async with client.stream("GET", "/assets/index-abc123.js", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == sent
    assert answer.headers["vary"] == "Accept-Encoding"
    assert raw == (folder / f"assets/index-abc123.js{ {'br': '.br', 'gzip': '.gz', None: ''}[sent] }").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/assets/../../secret.txt",
     "//secret.txt", "/assets/%2e%2e%5csecret.txt", "/.vite/manifest.json", "/assets/index-abc123.js.gz"],
)  # fmt: skip
async def test_no_address_leads_out_of_what_was_built(folder: Path, path: str):
    answer = await _client(folder).get(path)
    assert answer.status_code in {400, 404}
    assert b"outside" not in answer.content


async def test_a_missing_file_is_no_page(folder: Path):
    answer = await _client(folder).get("/assets/index-of-before.js", headers=HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_the_api_answers_for_itself(folder: Path):
    client = _client(folder)
    assert (await client.get("/api/v1/things", headers=HTML)).json() == {"of_the_api": True}
    for path in ("/api/v1/nothing", "/healthz/nothing", "/.well-known/nothing"):
        unknown = await client.get(path, headers=HTML)
        assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    program = await client.get("/jobs", headers={"Accept": "*/*"})
    assert (program.status_code, program.headers["content-type"]) == (404, "application/problem+json")
    changed = await client.post("/jobs", headers=HTML)
    assert changed.status_code == 404


async def test_a_head_request_has_the_headers_alone(folder: Path):
    client = _client(folder)
    for path in ("/jobs", "/assets/index-abc123.js"):
        head = await client.head(path, headers=HTML)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0


async def test_an_unknown_host_gets_no_page(folder: Path):
    answer = await _client(folder).get("/", headers={**HTML, "Host": "evil.example"})
    assert answer.status_code == 400


async def test_without_built_files_the_api_is_there_and_the_page_says_how_to_build(tmp_path: Path):
    client = _client(tmp_path / "nothing")
    page = await client.get("/", headers=HTML)
    assert page.status_code == 503
    assert "make web" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await client.get("/api/v1/things")).status_code == 200
