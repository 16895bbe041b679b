"""What a client names of a repository reaches the platform's own Git as a name, never as a command or an option."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from engine.git.git_fixtures import LOOPBACK, Origin, plain_git
from engine.git.git_http_server import GitServer
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.command import Git
from shopfloor.engine.git.errors import GitFailed, RefNameRefused, RefUnknown
from shopfloor.engine.git.push import push
from shopfloor.engine.git.urls import parse_repository_url
from shopfloor.infra.outbound import UrlRefused

COMMANDS = [
    "$(touch {marker})",
    "`touch {marker}`",
    ";touch {marker}",
    "|touch {marker}",
    "&&touch {marker}",
    "&touch {marker}",
    "\ntouch {marker}",
    "main;touch${{IFS}}{marker}",
    "main$(touch${{IFS}}{marker})",
    "main`touch${{IFS}}{marker}`",
    "'$(touch {marker})'",
    '"$(touch {marker})"',
    "--upload-pack=touch {marker}",
    "--receive-pack=touch {marker}",
    "--exec=touch {marker}",
    "-c core.pager=touch {marker}",
    "-ccore.sshCommand=touch",
    "-utouch",
    "--output={marker}",
    "--config-env=core.pager=PATH",
    "@{{upstream}}",
    "main^{{/x}}",
    "main:../../../../etc/passwd",
    "../../../../etc/passwd",
    "refs/heads/../../config",
    "refs/../hooks/post-checkout",
    ".git/hooks/pre-commit",
    "main.lock",
    "HEAD\x00touch",
    "main\r\nHost: evil.example",
    "\x1b[2Jmain",
    "+refs/heads/*:refs/heads/*",
    ":main",
    "^main",
    "*",
    "~root",
]


@pytest.mark.parametrize("text", COMMANDS)
async def test_what_a_client_may_name_never_becomes_a_command(
    text: str, origin: Origin, server: GitServer, cache: RepositoryCache, git: Git, tmp_path: Path
):
    marker = tmp_path / "marker"
    sha = origin.commit({"a": "1"})
    named = text.format(marker=marker)
    with pytest.raises((RefNameRefused, RefUnknown)):
        await cache.fetch(server.url(), named)
    with contextlib.suppress(RefNameRefused, GitFailed):  # a branch may be named so: Git allows `;` and `$`
        await push(git, origin.work / ".git", sha, server.url(), named)
    with pytest.raises(UrlRefused):
        parse_repository_url(f"https://git.example.org/{named} {named}", LOOPBACK)
    with pytest.raises(UrlRefused):
        parse_repository_url(named, LOOPBACK)
    assert not marker.exists()
    refs = set(plain_git("for-each-ref", "--format=%(refname)", cwd=origin.bare).splitlines())
    assert refs <= {"refs/heads/main", f"refs/heads/{named}"}


async def test_a_shell_or_an_option_would_have_run_it(tmp_path: Path, origin: Origin):
    """The positive control: the same texts where a program is less careful."""
    import subprocess

    marker = tmp_path / "marker"
    ran = 0
    for text in COMMANDS[:12]:
        named = text.format(marker=marker)
        subprocess.run(f"echo {named}", shell=True, check=False, capture_output=True, cwd=tmp_path)  # noqa: ASYNC221
        ran += marker.exists()
        marker.unlink(missing_ok=True)
    plain_git("ls-remote", f"--upload-pack=touch {marker};", str(origin.bare), cwd=tmp_path, check=False)
    assert (ran >= 8, marker.exists()) == (True, True)


async def test_an_ordinary_branch_is_fetched_and_pushed(
    origin: Origin, server: GitServer, cache: RepositoryCache, git: Git
):
    """The positive control: the same calls with a name."""
    sha = origin.commit({"a": "1"})
    assert (await cache.fetch(server.url(), "main")).sha == sha
    await push(git, origin.work / ".git", sha, server.url(), "shopfloor/job-1")
    assert "refs/heads/shopfloor/job-1" in plain_git("for-each-ref", cwd=origin.bare)
