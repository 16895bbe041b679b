"""Where a job begins on a worker: the bundle that was made once, unpacked at every later run; or nothing at all."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.git.git_fixtures import Origin, plain_git
from engine.git.git_http_server import GitServer
from shopfloor.engine.git import unpack as unpacking
from shopfloor.engine.git.bundles import open_results
from shopfloor.engine.git.cache import Commit, RepositoryCache
from shopfloor.engine.git.checkout import load
from shopfloor.engine.git.command import Git
from shopfloor.engine.git.diff import diff
from shopfloor.engine.git.errors import GitFailed
from shopfloor.engine.git.unpack import empty_commit, starting_bundle, unpack
from shopfloor.testing.folder_workspace import FolderWorkspace


async def written(chunks: AsyncIterator[bytes], to: Path) -> Path:
    with to.open("wb") as file:
        file.write(b"".join([chunk async for chunk in chunks]))
    return to


async def fetched(cache: RepositoryCache, server: GitServer, origin: Origin) -> Commit:
    return await cache.fetch(server.url(origin.bare.name), None, credentials=None, scope="tests")


async def test_a_bundle_comes_back_as_the_same_commit_with_its_history(
    git: Git, cache: RepositoryCache, server: GitServer, origin: Origin, tmp_path: Path
) -> None:
    first = origin.commit({"a.txt": "one\n"})
    origin.commit({"a.txt": "two\n", "ملف.txt": "x"})
    commit = await fetched(cache, server, origin)
    bundle = await written(starting_bundle(git, commit), tmp_path / "base.bundle")

    again = await unpack(git, bundle, tmp_path / "base.git", commit.sha)

    assert again == Commit(tmp_path / "base.git", commit.sha, commit.sha)
    assert plain_git("rev-list", commit.sha, cwd=again.repository).split() == [commit.sha, first]
    assert not (again.repository / "shallow").exists()


async def test_a_history_too_large_to_be_worth_its_minutes_is_left_out_and_known_to_be(
    git: Git,
    cache: RepositoryCache,
    server: GitServer,
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpacking, "_WHOLE_HISTORY_BYTES", 1)
    for number in range(3):
        origin.commit({"a.txt": f"{number}\n"})
    commit = await fetched(cache, server, origin)
    bundle = await written(starting_bundle(git, commit), tmp_path / "base.bundle")

    again = await unpack(git, bundle, tmp_path / "base.git", commit.sha)

    assert plain_git("rev-list", commit.sha, cwd=again.repository).split() == [commit.sha]
    assert plain_git("show", f"{commit.sha}:a.txt", cwd=again.repository) == "2"
    assert plain_git("fsck", "--full", cwd=again.repository) == ""


async def test_what_was_unpacked_can_be_bundled_and_unpacked_once_more(
    git: Git, cache: RepositoryCache, server: GitServer, origin: Origin, tmp_path: Path
) -> None:
    origin.commit({"a.txt": "one\n"})
    commit = await fetched(cache, server, origin)
    once = await unpack(
        git, await written(starting_bundle(git, commit), tmp_path / "1.bundle"), tmp_path / "1.git", commit.sha
    )

    twice = await unpack(
        git, await written(starting_bundle(git, once), tmp_path / "2.bundle"), tmp_path / "2.git", commit.sha
    )

    assert plain_git("rev-parse", f"{twice.sha}^{{tree}}", cwd=twice.repository) == plain_git(
        "rev-parse", "HEAD^{tree}", cwd=origin.work
    )


async def test_a_bundle_without_the_commit_that_was_promised_is_an_error(
    git: Git, cache: RepositoryCache, server: GitServer, origin: Origin, tmp_path: Path
) -> None:
    origin.commit({"a.txt": "one\n"})
    commit = await fetched(cache, server, origin)
    bundle = await written(starting_bundle(git, commit), tmp_path / "base.bundle")

    with pytest.raises(GitFailed):
        await unpack(git, bundle, tmp_path / "base.git", "f" * 40)


async def test_a_damaged_bundle_is_an_error(
    git: Git, cache: RepositoryCache, server: GitServer, origin: Origin, tmp_path: Path
) -> None:
    origin.commit({"a.txt": "one\n"})
    commit = await fetched(cache, server, origin)
    bundle = await written(starting_bundle(git, commit), tmp_path / "base.bundle")
    bundle.write_bytes(bundle.read_bytes()[:-30])

    with pytest.raises(GitFailed):
        await unpack(git, bundle, tmp_path / "base.git", commit.sha)


async def test_a_job_without_a_repository_begins_with_the_same_empty_commit_everywhere(
    git: Git, tmp_path: Path
) -> None:
    one, two = await empty_commit(git, tmp_path / "1.git"), await empty_commit(git, tmp_path / "2.git")

    assert one.sha == two.sha
    assert plain_git("ls-tree", "-r", one.sha, cwd=one.repository) == ""


async def test_an_empty_commit_loads_into_a_workspace_and_its_diff_is_empty(git: Git, tmp_path: Path) -> None:
    base = await empty_commit(git, tmp_path / "base.git")
    (tmp_path / "tree").mkdir()
    workspace = FolderWorkspace(tmp_path / "tree")

    await load(workspace, starting_bundle(git, base), base.sha)

    assert (await workspace.list_files()).entries == []
    results = await open_results(git, base, tmp_path)
    assert (await diff(git, results, base.sha, base.sha, max_patch_bytes=1_000)).empty
