"""URLs, servers and names that try to lead the platform's own git astray."""

import asyncio
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.git.git_fixtures import LOOPBACK, plain_git
from engine.git.git_http_server import GitServer
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.engine.git.errors import GitFailed, RefNameRefused, RepositoryUnknown
from shopfloor.engine.git.urls import check_repository_url, parse_repository_url
from shopfloor.infra.outbound import OutboundRules, UrlRefused

DEFAULT = OutboundRules()


def answers(*addresses: str):
    calls: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        calls.append(host)
        return list(addresses)

    resolver.calls = calls
    return resolver


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "fd::17",
        "file:///etc",
        "/etc/repo.git",
        "../repo.git",
        "repo.git",
        "ssh://git@example.org/x",
        "git@example.org:owner/repo.git",
        "example.org:owner/repo.git",
        "git://example.org/x",
        "http://example.org/x",
        "ftp://example.org/x",
        "-oProxyCommand=x",
        "--upload-pack=touch x",
        "https://user:fake-password@example.org/x",
        "https://token@example.org/x",
        "https://example.org",
        "https://example.org/",
        "https://example.org/x?y=z",
        "https://example.org/x#y",
        "https://example.org/x\n[core]",
        "https://example.org/x y",
        "https://-x.example/x",
        "https::https://example.org/x",
        "HTTPS://0x7f.1/x",
        "https://2130706433/x",
        "https://0177.0.0.1/x",
        "",
    ],
)
def test_a_url_of_another_kind_is_refused_with_what_is_allowed(url):
    with pytest.raises(UrlRefused) as caught:
        parse_repository_url(url, DEFAULT)
    assert "fake-password" not in caught.value.detail
    assert parse_repository_url("https://example.org/owner/repo.git", DEFAULT)  # the control


def test_the_refusal_says_what_to_write_instead():
    with pytest.raises(UrlRefused, match=r"not reached by SSH\. Write https://host/path"):
        parse_repository_url("git@example.org:owner/repo.git", DEFAULT)
    with pytest.raises(UrlRefused, match="shopfloor run --repo"):
        parse_repository_url("/home/me/repo", DEFAULT)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fd00::1",
    ],
)
async def test_a_name_that_leads_to_a_private_address_is_refused(address):
    with pytest.raises(UrlRefused, match="may not be reached"):
        await check_repository_url("https://example.org/x", DEFAULT, resolver=answers("93.184.215.14", address))
    assert await check_repository_url("https://example.org/x", DEFAULT, resolver=answers("93.184.215.14"))


async def test_git_never_starts_for_a_private_address(server, origin, git, tmp_path):
    sha = origin.commit({"a": "1"})
    public_only = Git(GitSettings(outbound=OutboundRules(schemes=LOOPBACK.schemes)))
    with pytest.raises(UrlRefused):
        await RepositoryCache(tmp_path / "cache", public_only).fetch(server.url())
    assert server.requests == []
    assert (await RepositoryCache(tmp_path / "cache", git).fetch(server.url())).sha == sha


async def test_git_connects_to_the_checked_address_whatever_the_name_says_later(server, origin, git, tmp_path):
    """Rebinding: the name's second answer, which git itself would get, is another server than the checked one."""
    origin.commit({"a": "1"})
    url = server.url(host="localhost")  # the machine's resolver says 127.0.0.1, where the server listens
    plain_git("ls-remote", url, cwd=tmp_path)  # the control: a plain git asks that resolver and arrives
    before = len(server.requests)
    assert before > 0
    pinned = answers("127.0.0.2")  # what was checked: nobody listens there
    with pytest.raises(GitFailed):
        await RepositoryCache(tmp_path / "cache", git, resolver=pinned).fetch(url)
    assert len(server.requests) == before
    assert pinned.calls == ["localhost"]


async def test_a_name_that_no_name_service_knows_works_when_it_is_pinned(server, origin, git, tmp_path):
    sha = origin.commit({"a": "1"})
    url = server.url(host="git.invalid")
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("git.invalid", server.port)
    commit = await RepositoryCache(tmp_path / "cache", git, resolver=answers("127.0.0.1")).fetch(url)
    assert commit.sha == sha


async def test_a_redirect_is_not_followed(server, origin, cache, tmp_path):
    origin.commit({"a": "1"})
    inner = GitServer(server.root)
    server.redirect_to = f"http://127.0.0.1:{inner.port}"
    plain_git("ls-remote", server.url(), cwd=tmp_path)
    assert inner.requests  # the control: a plain git follows
    inner.requests.clear()
    with pytest.raises(RepositoryUnknown, match="redirects"):
        await cache.fetch(server.url())
    assert inner.requests == []
    inner.close()


async def test_alternates_of_a_dumb_server_lead_nowhere(server, origin, cache, tmp_path):
    """A server without git's protocol may name other places to fetch objects from (objects/info/http-alternates)."""
    origin.commit({"a": "1"})
    plain_git("update-server-info", cwd=origin.bare)
    inner = StaticServer(server.root)
    victim = origin.bare.parent / "victim.git"
    origin.bare.rename(victim)
    for name in ("HEAD", "info/refs", "refs/heads/main"):
        (origin.bare / name).parent.mkdir(parents=True, exist_ok=True)
        (origin.bare / name).write_bytes((victim / name).read_bytes())
    (origin.bare / "objects/info").mkdir(parents=True)
    (origin.bare / "objects/info/http-alternates").write_text(f"http://127.0.0.1:{inner.port}/victim.git/objects\n")
    outer = StaticServer(server.root)
    url = f"http://127.0.0.1:{outer.port}/origin.git"
    await asyncio.to_thread(
        plain_git, "-c", "http.followRedirects=true", "clone", "-q", url, "clone", cwd=tmp_path, check=False
    )
    assert inner.paths  # the control: git can be led there
    inner.paths.clear()
    with pytest.raises(GitFailed):
        await cache.fetch(url)
    assert inner.paths == []
    inner.close()
    outer.close()


async def test_no_transport_but_the_one_named_is_ever_used(git, origin, tmp_path):
    origin.commit({"a": "1"})
    marker = tmp_path / "marker"
    ext = f"ext::touch {marker}"
    plain_git("-c", "protocol.ext.allow=always", "ls-remote", ext, cwd=tmp_path, check=False)
    assert marker.exists()  # the control
    marker.unlink()
    plain_git("ls-remote", f"file://{origin.bare}", cwd=tmp_path)  # the control
    for url in (ext, f"file://{origin.bare}", str(origin.bare)):
        output = await git.run(["ls-remote", "--", url], tmp_path, protocols="https")
        assert b"not allowed" in output.stderr
        assert output.stdout == b""
    assert not marker.exists()


@pytest.mark.parametrize("ref", ["--upload-pack=touch {marker}", "-u{marker}", "--exec=touch {marker}"])
async def test_a_ref_is_never_an_option(ref, origin, server, cache, tmp_path):
    origin.commit({"a": "1"})
    marker = tmp_path / "marker"
    plain_git("ls-remote", f"--upload-pack=touch {marker};", str(origin.bare), cwd=tmp_path, check=False)
    assert marker.exists()  # the control: as an option it runs
    marker.unlink()
    with pytest.raises(RefNameRefused):
        await cache.fetch(server.url(), ref.format(marker=marker))
    assert not marker.exists()


async def test_credentials_of_this_machine_are_not_sent(server, origin, cache, tmp_path, monkeypatch):
    origin.commit({"a": "1"})
    server.credentials = ("someone", "fake-password")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password fake-password\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    plain_git("ls-remote", server.url(), cwd=tmp_path)  # the control: a plain git finds them
    server.requests.clear()
    with pytest.raises(GitFailed):
        await cache.fetch(server.url())
    assert {authorization for _, _, authorization in server.requests} == {None}


async def test_proxies_of_the_environment_are_not_used(server, origin, cache, tmp_path, monkeypatch):
    sha = origin.commit({"a": "1"})
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    plain = plain_git("ls-remote", server.url(), cwd=tmp_path, check=False, http_proxy="http://127.0.0.1:1")
    assert (plain, server.requests) == ("", [])  # the control: a plain git tries the proxy
    assert (await cache.fetch(server.url())).sha == sha


async def test_what_a_server_writes_can_not_forge_lines_or_colours(server, origin, cache):
    server.answer_with = 500
    with pytest.raises(GitFailed) as caught:
        await cache.fetch(server.url())
    assert caught.value.detail.isprintable()


class StaticServer:
    """Files below a folder over plain HTTP; `paths` holds what was asked for."""

    def __init__(self, root):
        self.paths: list[str] = []
        paths = self.paths

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self):
                paths.append(self.path)
                super().do_GET()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
