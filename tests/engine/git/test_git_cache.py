import asyncio
import os
import subprocess
from dataclasses import replace

import pytest

from engine.git.git_fixtures import LOOPBACK, plain_git
from shopfloor.engine.git.cache import RepositoryCache, tree_bytes
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.engine.git.errors import (
    CredentialsRefused,
    GitMissing,
    GitTimeout,
    RefNameRefused,
    RefUnknown,
    RemoteUnavailable,
    RepositoryRefused,
    RepositoryTooLarge,
    RepositoryUnknown,
)
from shopfloor.engine.git.urls import Credentials

TOKEN = "fake-token-for-tests"


def running_commands() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


async def test_a_branch_a_tag_and_a_commit_are_found(server, origin, cache):
    first = origin.commit({"a": "1"})
    plain_git("tag", "-a", "v1", "-m", "annotated", cwd=origin.work)
    plain_git("push", "-q", str(origin.bare), "v1", cwd=origin.work)
    second = origin.commit({"a": "2"})
    found = {ref: await cache.fetch(server.url(), ref) for ref in (None, "main", "v1", "refs/heads/main", first)}
    assert {ref: (commit.sha, commit.ref) for ref, commit in found.items()} == {
        None: (second, "HEAD"),
        "main": (second, "refs/heads/main"),
        "v1": (first, "refs/tags/v1"),
        "refs/heads/main": (second, "refs/heads/main"),
        first: (first, first),
    }
    assert plain_git("show", f"{first}:a", cwd=found["v1"].repository) == "1"


async def test_a_moved_branch_is_followed_and_the_old_commit_stays(server, origin, cache):
    old = origin.commit({"a": "1"})
    await cache.fetch(server.url(), "main")
    plain_git("checkout", "-q", "--orphan", "other", cwd=origin.work)
    new = origin.commit({"b": "2"})
    plain_git("push", "-q", "-f", str(origin.bare), "other:main", cwd=origin.work)
    commit = await cache.fetch(server.url(), "main")
    assert commit.sha == new
    assert plain_git("cat-file", "-t", old, cwd=commit.repository) == "commit"


async def test_what_is_here_is_not_downloaded_again_but_the_server_is_asked(server, origin, cache):
    origin.commit({"a": "1"})
    await cache.fetch(server.url(), "main")
    before = len(server.requests)
    await cache.fetch(server.url(), "main")
    asked = [(method, path) for method, path, _ in server.requests[before:]]
    assert ("GET", "/origin.git/info/refs?service=git-upload-pack") in asked
    assert len(asked) == 2  # the greeting and ls-refs: no pack


async def test_tenants_do_not_share_a_copy(server, origin, cache):
    origin.commit({"a": "1"})
    ours = await cache.fetch(server.url(), scope="ours")
    theirs = await cache.fetch(server.url(), scope="theirs")
    assert ours.sha == theirs.sha
    assert ours.repository != theirs.repository


async def test_many_jobs_at_once_fetch_the_same_repository_once(server, origin, cache):
    sha = origin.commit({"a": "1"})
    commits = await asyncio.gather(*(cache.fetch(server.url(), "main") for _ in range(8)))
    assert {commit.sha for commit in commits} == {sha}
    assert len(list((commits[0].repository / "objects/pack").glob("*.pack"))) == 1


@pytest.mark.parametrize("ref", ["nope", "a1b2c3d", "f" * 40, "refs/heads/nope"])
async def test_an_unknown_ref_is_named(server, origin, cache, ref):
    origin.commit({"a": "1"})
    with pytest.raises(RefUnknown, match=ref):
        await cache.fetch(server.url(), ref)


async def test_an_empty_repository_has_no_default_branch(server, origin, cache):
    with pytest.raises(RefUnknown, match="is it empty"):
        await cache.fetch(server.url())


@pytest.mark.parametrize("ref", ["-x", "--upload-pack=touch x", "a b", "a..b", "a:b", "", "x" * 300, "a\nb", "@", "*"])
async def test_a_ref_that_git_would_not_allow_never_reaches_it(server, origin, cache, ref):
    with pytest.raises(RefNameRefused):
        await cache.fetch(server.url(), ref)
    assert server.requests == []


async def test_an_unknown_repository_is_named(server, origin, cache):
    with pytest.raises(RepositoryUnknown, match=r"nope\.git"):
        await cache.fetch(server.url("nope.git"))


async def test_a_closed_port_and_a_failing_server_may_be_tried_again(server, origin, cache):
    server.answer_with = 503
    with pytest.raises(RemoteUnavailable):
        await cache.fetch(server.url())
    server.close()
    with pytest.raises(RemoteUnavailable) as caught:
        await cache.fetch(server.url())
    assert caught.value.retryable


async def test_credentials_are_asked_for_and_shown_to_the_server_alone(server, origin, cache, tmp_path):
    sha = origin.commit({"a": "1"})
    server.credentials = ("x-access-token", TOKEN)
    for wrong in (None, Credentials("wrong-fake-token")):
        with pytest.raises(CredentialsRefused) as caught:
            await cache.fetch(server.url(), "main", credentials=wrong)
        assert "wrong-fake-token" not in str(caught.value.as_dict())
    commit = await cache.fetch(server.url(), "main", credentials=Credentials(TOKEN))
    assert commit.sha == sha
    assert TOKEN not in repr(Credentials(TOKEN))
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert kept == []
    with pytest.raises(CredentialsRefused):  # the copy that is here now is not given to someone without
        await cache.fetch(server.url(), "main")
    with pytest.raises(CredentialsRefused):
        await cache.fetch(server.url(), sha)


async def test_credentials_are_in_no_argument_while_git_runs(server, origin, cache):
    origin.commit({"a": "1"})
    server.credentials = ("x-access-token", TOKEN)
    server.hang.clear()
    fetching = asyncio.create_task(cache.fetch(server.url(), "main", credentials=Credentials(TOKEN)))
    while not server.requests:  # noqa: ASYNC110 - the server has no event loop
        await asyncio.sleep(0.01)
    arguments = running_commands()
    server.hang.set()
    await fetching
    assert server.url() in arguments  # the control: git was running
    assert TOKEN not in arguments


async def test_a_repository_over_the_limit_is_refused_and_leaves_nothing(server, origin, tmp_path):
    origin.commit({"big": os.urandom(6_000_000)})
    git = Git(GitSettings(outbound=LOOPBACK, max_repository_bytes=2_000_000))
    with pytest.raises(RepositoryTooLarge, match="larger than"):
        await RepositoryCache(tmp_path / "cache", git).fetch(server.url())
    assert tree_bytes(tmp_path / "cache") < 100_000
    enough = Git(GitSettings(outbound=LOOPBACK, max_repository_bytes=20_000_000))
    assert await RepositoryCache(tmp_path / "cache", enough).fetch(server.url())


async def test_a_server_that_hangs_is_given_up_and_its_git_killed(server, origin, git, tmp_path):
    origin.commit({"a": "1"})
    server.hang.clear()
    hasty = Git(replace(git.settings, transfer_timeout_s=0.5))
    with pytest.raises(GitTimeout):
        await RepositoryCache(tmp_path / "cache", hasty).fetch(server.url())
    assert server.url() not in running_commands()


async def test_cancelling_a_fetch_kills_its_git_and_frees_the_lock(server, origin, cache):
    origin.commit({"a": "1"})
    server.hang.clear()
    fetching = asyncio.create_task(cache.fetch(server.url()))
    while not server.requests:  # noqa: ASYNC110 - the server has no event loop
        await asyncio.sleep(0.01)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert server.url() not in running_commands()
    server.hang.set()
    assert await cache.fetch(server.url())


async def test_what_a_killed_fetch_left_is_swept(server, origin, cache):
    origin.commit({"a": "1"})
    commit = await cache.fetch(server.url())
    leftover = commit.repository / "objects/pack/tmp_pack_abc"
    leftover.write_bytes(b"x")
    (commit.repository / "shallow.lock").write_bytes(b"")
    origin.commit({"a": "2"})
    await cache.fetch(server.url())
    assert not leftover.exists()


async def test_a_tag_of_a_blob_is_no_commit(server, origin, cache):
    origin.commit({"a": "1"})
    blob = plain_git("rev-parse", "HEAD:a", cwd=origin.work)
    plain_git("tag", "blob", blob, cwd=origin.work)
    plain_git("push", "-q", str(origin.bare), "blob", cwd=origin.work)
    with pytest.raises(RepositoryRefused, match="not a commit"):
        await cache.fetch(server.url(), "blob")


async def test_only_idle_copies_are_evicted(server, origin, cache, tmp_path):
    origin.commit({"a": "1"})
    old = await cache.fetch(server.url(), scope="old")
    new = await cache.fetch(server.url(), scope="new")
    os.utime(old.repository, (0, 0))
    assert await cache.evict(idle_s=3600) == 1
    assert (old.repository.exists(), new.repository.exists()) == (False, True)


async def test_names_in_any_script_are_fetched(server, origin, cache):
    sha = origin.commit({"файл": "1"})
    plain_git("push", "-q", str(origin.bare), "HEAD:refs/heads/ветка-日本", cwd=origin.work)
    assert (await cache.fetch(server.url(), "ветка-日本")).sha == sha


async def test_a_git_too_old_to_be_pinned_is_not_used(server, origin, git, tmp_path):
    origin.commit({"a": "1"})
    old = tmp_path / "old-git"
    old.write_text("#!/bin/sh\necho git version 2.36.9\n")
    old.chmod(0o755)
    with pytest.raises(GitMissing, match=r"2\.37 or newer"):
        await RepositoryCache(tmp_path / "cache", Git(replace(git.settings, executable=str(old)))).fetch(server.url())
    assert server.requests == []
