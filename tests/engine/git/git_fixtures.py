"""Repositories to try things on, made and opened by a plain `git` as a user would."""

import os
import subprocess
from pathlib import Path

import pytest

from engine.git.git_http_server import GitServer
from shopfloor.engine.git.bundles import create, fetch_untrusted, open_results
from shopfloor.engine.git.cache import Commit, RepositoryCache, init_bare
from shopfloor.engine.git.checkout import load, snapshot
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.infra.outbound import OutboundRules
from shopfloor.testing.folder_workspace import FolderWorkspace

LOOPBACK = OutboundRules(schemes=frozenset({"http", "https"}), allow_private=True)
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Test Person"), ("EMAIL", "test@example.invalid"))
}


def plain_git(*arguments: str, cwd: Path, check: bool = True, stdin: bytes = b"", **env: str) -> str:
    """What a plain host `git` does there, with its defaults."""
    home = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    result = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=home | IDENTITY | env,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"git {arguments}: {result.stderr.decode()}")
    return result.stdout.decode(errors="replace").strip()


class Origin:
    """A bare repository on the server and a working copy that pushes to it."""

    def __init__(self, server_root: Path, work: Path, name: str = "origin.git"):
        self.bare = server_root / name
        self.work = work
        plain_git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=server_root)
        plain_git("config", "http.receivepack", "true", cwd=self.bare)
        plain_git("init", "-q", "-b", "main", str(work), cwd=server_root)

    def commit(self, files: dict[str, bytes | str | None], message: str = "change") -> str:
        for name, content in files.items():
            path = self.work / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        plain_git("add", "-A", cwd=self.work)
        plain_git("commit", "-q", "--allow-empty", "-m", message, cwd=self.work)
        plain_git("push", "-q", str(self.bare), "HEAD", cwd=self.work)
        return self.head()

    def head(self) -> str:
        return plain_git("rev-parse", "HEAD", cwd=self.work)


class Round:
    """A commit loaded into a workspace, and the clean repository that takes what comes back."""

    def __init__(self, git: Git, base: Commit, workspace: FolderWorkspace, results: Path, spool: Path):
        self.git, self.base, self.workspace, self.results, self.spool = git, base, workspace, results, spool
        self.previous = base.sha

    async def bring_back(self) -> str | None:
        taken = await snapshot(self.workspace, self.previous)
        if taken is None:
            return None
        bundle = self.spool / f"{taken.sha}.bundle"
        bundle.write_bytes(b"".join([piece async for piece in taken.chunks]))
        self.previous = await fetch_untrusted(
            self.git, bundle, self.results, expected=taken.sha, previous=self.previous
        )
        return self.previous


@pytest.fixture
def git() -> Git:
    return Git(GitSettings(outbound=LOOPBACK))


@pytest.fixture
def server(tmp_path: Path):
    (tmp_path / "server").mkdir()
    server = GitServer(tmp_path / "server")
    yield server
    server.close()


@pytest.fixture
def origin(server: GitServer, tmp_path: Path) -> Origin:
    return Origin(server.root, tmp_path / "work")


@pytest.fixture
def cache(git: Git, tmp_path: Path) -> RepositoryCache:
    return RepositoryCache(tmp_path / "cache", git)


@pytest.fixture
async def round_trip(git: Git, tmp_path: Path) -> Round:
    """A small repository in a workspace, without a server: one commit with `a.txt` and `dir/b.txt`."""
    source = tmp_path / "source"
    source.mkdir()
    plain_git("init", "-q", "-b", "main", cwd=source)
    (source / "a.txt").write_text("one\ntwo\n")
    (source / "dir").mkdir()
    (source / "dir/b.txt").write_text("b\n")
    plain_git("add", "-A", cwd=source)
    plain_git("commit", "-q", "-m", "base", cwd=source)
    base = Commit(tmp_path / "base.git", plain_git("rev-parse", "HEAD", cwd=source), "HEAD")
    await init_bare(git, base.repository)
    plain_git("push", "-q", str(base.repository), "HEAD:refs/shopfloor/commits/base", cwd=source)
    return await start_round(git, base, tmp_path)


async def start_round(git: Git, base: Commit, folder: Path, *, shallow: bool = False) -> Round:
    workspace = FolderWorkspace(folder / "workspace")
    await load(workspace, create(git, base, shallow=shallow), base.sha)
    results = await open_results(git, base, folder / "results")
    spool = folder / "spool"
    spool.mkdir()
    return Round(git, base, workspace, results, spool)
