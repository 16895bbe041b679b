"""A repository of a gigabyte: fetched in bounded memory, or refused soon and without a trace."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.git.git_fixtures import LOOPBACK, plain_git
from engine.git.git_http_server import GitServer
from shopfloor.engine.git.cache import RepositoryCache, tree_bytes
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.engine.git.errors import RepositoryTooLarge

GIGABYTE = 1_000_000_000
FILES = 20
MEMORY_MIB = 128  # of git, all its processes together, without the pages that map the pack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A server with one repository of twenty files that don't compress."""
    root = tmp_path_factory.mktemp("huge")
    bare = root / "origin.git"
    plain_git("init", "-q", "--bare", "-b", "main", str(bare), cwd=root)
    for name, value in (("core.bigFileThreshold", "1m"), ("core.compression", "0"), ("pack.compression", "0")):
        plain_git("config", name, value, cwd=bare)
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=bare, stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        for number in range(1, FILES + 1):
            importing.stdin.write(f"blob\nmark :{number}\ndata {GIGABYTE // FILES}\n".encode())
            importing.stdin.write(os.urandom(GIGABYTE // FILES))
        who = "committer Test Person <test@example.invalid> 0 +0000\n"
        files = "".join(f"M 644 :{number} file-{number}.bin\n" for number in range(1, FILES + 1))
        importing.stdin.write(f"commit refs/heads/main\n{who}data 4\nhuge\n{files}\ndone\n".encode())
    assert importing.returncode == 0
    server = GitServer(root)
    yield server
    server.close()


async def test_a_gigabyte_is_fetched_in_bounded_memory(huge: GitServer, tmp_path: Path):
    git = Git(GitSettings(outbound=LOOPBACK))
    fetching = asyncio.create_task(RepositoryCache(tmp_path / "cache", git).fetch(huge.url()))
    most_kib, looks = 0, 0
    while not fetching.done():
        most_kib = max(most_kib, _anonymous_kib(huge.url()))
        looks += 1
        await asyncio.wait([fetching], timeout=0.05)
    commit = await fetching
    assert tree_bytes(commit.repository) > GIGABYTE
    assert looks > 1
    assert 0 < most_kib < MEMORY_MIB * 1024


async def test_a_gigabyte_over_the_limit_is_refused_before_it_is_here(huge: GitServer, tmp_path: Path):
    git = Git(GitSettings(outbound=LOOPBACK, max_repository_bytes=100_000_000))
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, await asyncio.to_thread(tree_bytes, tmp_path))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    with pytest.raises(RepositoryTooLarge, match="larger than"):
        await RepositoryCache(tmp_path / "cache", git).fetch(huge.url())
    watching.cancel()
    assert most < 2 * 100_000_000
    assert tree_bytes(tmp_path / "cache") < 100_000


def _anonymous_kib(url: str) -> int:
    """Of the processes of the client's git: those in the session of the one that was given the URL."""
    sessions: dict[int, int] = {}
    ours: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
        except (OSError, ValueError):
            continue
        kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)
        sessions[session] = sessions.get(session, 0) + kib
        if url in command and "git" in command:
            ours.add(session)
    return sum(sessions[session] for session in ours)
