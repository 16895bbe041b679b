import subprocess
from datetime import UTC, datetime

import pytest

from engine.git.git_fixtures import plain_git, start_round
from shopfloor.engine.git.diff import patch
from shopfloor.engine.git.errors import CredentialsRefused, PushRejected, RefNameRefused, RemoteUnavailable
from shopfloor.engine.git.push import Author, commit_result, push
from shopfloor.engine.git.urls import Credentials

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
AUTHOR = Author("Shopfloor\nfake <x>", "bot@example.invalid")


@pytest.fixture
async def result(server, origin, cache, git, tmp_path):
    """A commit with a text and a binary change, ready to push; `(round, sha)`."""
    origin.commit({"a": "1\n"})
    round_trip = await start_round(git, await cache.fetch(server.url()), tmp_path)
    await round_trip.workspace.write_file("a", b"2\n")
    await round_trip.workspace.write_file("bin", bytes(range(256)))
    head = await round_trip.bring_back()
    base = round_trip.base.sha
    message = "Fix it\n\n-- by hand\n"
    sha = await commit_result(git, round_trip.results, base=base, head=head, message=message, author=AUTHOR, at=AT)
    return round_trip, sha


async def test_a_result_arrives_as_one_commit_of_the_platforms(server, origin, git, result):
    round_trip, sha = result
    await push(git, round_trip.results, sha, server.url(), "shopfloor/job-1")
    told = plain_git("log", "-1", "--format=%an|%ae|%aI|%P|%B", "refs/heads/shopfloor/job-1", cwd=origin.bare)
    base = round_trip.base.sha
    assert told == f"Shopfloorfake x|bot@example.invalid|2026-05-04T03:02:01+00:00|{base}|Fix it\n\n-- by hand"
    assert plain_git("show", "shopfloor/job-1:a", cwd=origin.bare) == "2"


async def test_pushing_twice_changes_nothing(server, git, result):
    round_trip, sha = result
    for _ in range(2):
        await push(git, round_trip.results, sha, server.url(), "result")


async def test_a_branch_that_exists_is_not_overwritten_unless_it_is_where_it_was_expected(server, origin, git, result):
    round_trip, sha = result
    base = round_trip.base.sha
    with pytest.raises(PushRejected, match="exists already or moved"):
        await push(git, round_trip.results, sha, server.url(), "main")
    with pytest.raises(PushRejected):
        await push(git, round_trip.results, sha, server.url(), "main", expected="1" * 40)
    assert plain_git("rev-parse", "main", cwd=origin.bare) == base
    await push(git, round_trip.results, sha, server.url(), "main", expected=base)
    assert plain_git("rev-parse", "main", cwd=origin.bare) == sha


async def test_a_server_that_says_no_is_quoted(server, origin, git, result):
    round_trip, sha = result
    hook = origin.bare / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'no pushes on Fridays' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PushRejected, match=r"pre-receive hook declined.*no pushes on Fridays"):
        await push(git, round_trip.results, sha, server.url(), "result")


@pytest.mark.parametrize(
    "branch", ["", "-x", "a b", "a..b", "a:b", "refs/heads/a", "HEAD", "a" * 40, "a.lock", "/a", "a/", "a\n", "@{-1}"]
)
async def test_a_name_that_is_no_branch_never_reaches_the_server(server, git, tmp_path, branch):
    with pytest.raises(RefNameRefused):
        await push(git, tmp_path, "1" * 40, server.url(), branch)
    assert server.requests == []


async def test_a_plus_in_a_name_does_not_mean_force(server, origin, git, result):
    round_trip, sha = result
    await push(git, round_trip.results, sha, server.url(), "+main")
    assert plain_git("rev-parse", "main", cwd=origin.bare) == round_trip.base.sha
    assert plain_git("rev-parse", "refs/heads/+main", cwd=origin.bare) == sha


async def test_a_push_needs_the_credentials(server, git, result):
    round_trip, sha = result
    server.credentials = ("x-access-token", "fake-token")
    with pytest.raises(CredentialsRefused):
        await push(git, round_trip.results, sha, server.url(), "result")
    await push(git, round_trip.results, sha, server.url(), "result", credentials=Credentials("fake-token"))


async def test_a_server_that_is_gone_may_be_tried_again(server, git, result):
    round_trip, sha = result
    server.close()
    with pytest.raises(RemoteUnavailable):
        await push(git, round_trip.results, sha, server.url(), "result")


async def test_the_patch_applies_to_a_plain_clone_binary_files_too(git, result, origin, tmp_path):
    round_trip, sha = result
    data = b"".join([piece async for piece in patch(git, round_trip.results, round_trip.base.sha, sha)])
    plain_git("apply", "--index", "-", cwd=origin.work, stdin=data)
    tree = plain_git("write-tree", cwd=origin.work)
    assert tree == plain_git("rev-parse", f"{sha}^{{tree}}", cwd=round_trip.results)


def test_the_server_is_a_real_one(server, origin):
    origin.commit({"a": "1"})
    target = origin.work.parent / "clone"
    subprocess.run(["git", "clone", "-q", server.url(), str(target)], check=True, timeout=30)
    assert (target / "a").read_text() == "1"
