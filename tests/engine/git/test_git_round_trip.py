import os
from pathlib import Path

import pytest

from engine.git.git_fixtures import LOOPBACK, plain_git, start_round
from shopfloor.base.errors import TooLarge
from shopfloor.engine.git.bundles import bundle_from_local, create, fetch_untrusted, open_results
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.checkout import apply_increment, load, restore, snapshot
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.engine.git.diff import FileChange, diff
from shopfloor.engine.git.errors import BundleRefused, GitMissing, RepositoryUnknown, SnapshotFailed
from shopfloor.testing.folder_workspace import FolderWorkspace


async def stream(data: bytes):
    yield data


async def sh(workspace: FolderWorkspace, script: str) -> str:
    result = await workspace.run(f"set -e; {script}", timeout_s=30)
    assert result.ok, result.output
    return result.output.decode().strip()


async def test_a_workspace_starts_on_a_branch_with_the_commit_and_its_history(server, origin, cache, git, tmp_path):
    origin.commit({"a": "1"}, "first")
    sha = origin.commit({"a": "2"}, "second")
    commit = await cache.fetch(server.url())
    workspace = FolderWorkspace(tmp_path / "w")
    await load(workspace, create(git, commit), sha)
    assert await sh(workspace, "git branch --show-current; git log --format=%s; cat a; git status --short") == (
        "shopfloor\nsecond\nfirst\n2"
    )
    assert await sh(workspace, "git remote; ls -A .git/hooks 2>/dev/null || true") == ""


async def test_a_shallow_start_holds_one_commit_and_still_comes_back(server, origin, cache, git, tmp_path):
    origin.commit({"a": "1" * 100_000}, "first")
    sha = origin.commit({"a": "2"}, "second")
    round_trip = await start_round(git, await cache.fetch(server.url()), tmp_path, shallow=True)
    assert await sh(round_trip.workspace, "git log --format=%s; git fsck 2>&1 | grep -v notice || true") == "second"
    await round_trip.workspace.write_file("b", b"new")
    head = await round_trip.bring_back()
    assert [file.path for file in (await diff(git, round_trip.results, sha, head)).files] == ["b"]


async def test_an_unchanged_tree_gives_no_snapshot(round_trip):
    assert await snapshot(round_trip.workspace, round_trip.base.sha) is None
    await sh(round_trip.workspace, "touch a.txt; git commit --allow-empty -qm nothing; echo x > new; rm new")
    assert await snapshot(round_trip.workspace, round_trip.base.sha) is None


async def test_changed_new_and_deleted_files_come_back_and_ignored_ones_stay(round_trip, git):
    await sh(
        round_trip.workspace,
        "printf 'one\n2\n' > a.txt; rm dir/b.txt; echo n > 'new file'; echo '*.log' > .gitignore; echo l > x.log; "
        "ln -s a.txt link; chmod +x a.txt",
    )
    head = await round_trip.bring_back()
    listing = plain_git("ls-tree", "-r", "--format=%(objectmode) %(path)", head, cwd=round_trip.results)
    assert listing.splitlines() == ["100644 .gitignore", "100755 a.txt", "120000 link", "100644 new file"]
    assert plain_git("show", f"{head}:a.txt", cwd=round_trip.results) == "one\n2"


async def test_the_agents_own_head_branch_and_index_are_left_alone(round_trip):
    workspace = round_trip.workspace
    await sh(
        workspace, "git checkout -qb mine; echo 1 > one; git add one; git commit -qm mine; echo 2 > two; git add two"
    )
    before = await sh(workspace, "git log --format=%H%s; git branch --show-current; git status --porcelain")
    await round_trip.bring_back()
    assert await sh(workspace, "git log --format=%H%s; git branch --show-current; git status --porcelain") == before


async def test_each_snapshot_carries_only_what_changed_since_the_last(round_trip):
    await round_trip.workspace.write_file("big", os.urandom(2_000_000))
    first = await snapshot(round_trip.workspace, round_trip.base.sha)
    await round_trip.workspace.write_file("small", b"1")
    second = await snapshot(round_trip.workspace, first.sha)
    assert first.size_bytes > 2_000_000
    assert second.size_bytes < 2_000


async def test_the_same_tree_on_the_same_commit_is_the_same_snapshot(round_trip, git, tmp_path):
    other = FolderWorkspace(tmp_path / "other")
    await load(other, create(git, round_trip.base), round_trip.base.sha)
    taken = []
    for workspace in (round_trip.workspace, other):
        await workspace.write_file("same", b"same")
        taken.append((await snapshot(workspace, round_trip.base.sha)).sha)
    assert taken[0] == taken[1]


async def test_a_run_goes_on_elsewhere_from_the_bundles_alone(round_trip, git, tmp_path):
    bundles = []
    for number in range(3):
        await round_trip.workspace.write_file(f"file-{number}", b"x")
        await sh(round_trip.workspace, f"rm -f file-{number - 1}")
        sha = await round_trip.bring_back()
        bundles.append((sha, (round_trip.spool / f"{sha}.bundle").read_bytes()))
    elsewhere = FolderWorkspace(tmp_path / "elsewhere")
    await load(elsewhere, create(git, round_trip.base), round_trip.base.sha)
    for sha, data in bundles:
        await apply_increment(elsewhere, stream(data), sha)
    await restore(elsewhere, bundles[-1][0])
    assert await sh(elsewhere, "ls; git status --short") == "a.txt\ndir\nfile-2\n?? file-2"
    assert await snapshot(elsewhere, bundles[-1][0]) is None
    await restore(elsewhere, bundles[0][0])  # and back to an earlier one
    assert await sh(elsewhere, "ls") == "a.txt\ndir\nfile-0"


async def test_a_half_done_tool_is_undone(round_trip):
    await round_trip.workspace.write_file("done", b"1")
    sha = await round_trip.bring_back()
    await sh(round_trip.workspace, "echo junk > junk; rm done; echo x >> a.txt; git add -A; mkdir -p d/e; echo > d/e/f")
    await restore(round_trip.workspace, sha)
    assert await sh(round_trip.workspace, "ls; cat a.txt") == "a.txt\ndir\ndone\none\ntwo"


async def test_a_damaged_git_folder_is_told_and_made_anew_below_the_same_files(round_trip, git):
    workspace = round_trip.workspace
    await workspace.write_file("kept", b"1")
    await sh(workspace, "rm -rf .git; git init -q .; git config core.bare true")
    with pytest.raises(SnapshotFailed, match="damaged"):
        await snapshot(workspace, round_trip.base.sha)
    await load(workspace, create(git, round_trip.base), round_trip.base.sha, keep_tree=True)
    head = await round_trip.bring_back()
    assert [file.path for file in (await diff(git, round_trip.results, round_trip.base.sha, head)).files] == ["kept"]


async def test_a_snapshot_works_under_a_hostile_configuration(round_trip, git):
    await sh(
        round_trip.workspace,
        "git config core.worktree /tmp; git config core.bare true; git config core.fsmonitor /bin/false; "
        "git config core.hooksPath /; git config index.version 4; git config commit.gpgSign true; "
        "git config gpg.program /bin/false; echo x > new; touch .git/shopfloor/index.lock",
    )
    head = await round_trip.bring_back()
    assert [file.path for file in (await diff(git, round_trip.results, round_trip.base.sha, head)).files] == ["new"]


async def test_a_bundle_over_the_callers_limit_is_not_read(round_trip):
    await round_trip.workspace.write_file("big", os.urandom(200_000))
    taken = await snapshot(round_trip.workspace, round_trip.base.sha, max_bytes=100_000)
    with pytest.raises(TooLarge):
        _ = [piece async for piece in taken.chunks]


async def test_a_bundle_over_the_platforms_limit_is_refused(round_trip):
    await round_trip.workspace.write_file("big", os.urandom(200_000))
    round_trip.git = Git(GitSettings(outbound=LOOPBACK, max_bundle_bytes=100_000))
    with pytest.raises(BundleRefused, match="larger"):
        await round_trip.bring_back()


async def test_a_bundle_of_too_many_objects_is_refused(round_trip):
    await sh(round_trip.workspace, "for n in $(seq 50); do echo $n > f$n; done")
    round_trip.git = Git(GitSettings(outbound=LOOPBACK, max_bundle_objects=20))
    with pytest.raises(BundleRefused, match="objects"):
        await round_trip.bring_back()


async def test_odd_names_survive_the_whole_way(round_trip, git):
    names = ["-rf", "a\nb", "tab\t", '"quoted"', "日本.txt", " ", "x -> y", ":(glob)", "$(id)", "'; id #"]
    for name in names:
        await round_trip.workspace.write_file(f"odd/{name}", name.encode())
    head = await round_trip.bring_back()
    found = await diff(git, round_trip.results, round_trip.base.sha, head)
    assert {file.path for file in found.files} == {f"odd/{name}" for name in names}


async def test_head_of_a_local_repository_goes_in_without_what_is_not_committed(tmp_path, git):
    repo = local_repository(tmp_path)
    commit = await bundle_from_local(repo / "sub", tmp_path / "copy.git")
    assert commit.sha == plain_git("rev-parse", "HEAD", cwd=repo)
    assert names_of(commit) == ["committed", "sub/x"]


async def test_uncommitted_changes_go_in_when_asked_and_the_users_repository_stays_as_it_was(tmp_path, git):
    repo = local_repository(tmp_path)
    before = plain_git("status", "--porcelain", cwd=repo) + plain_git("for-each-ref", cwd=repo)
    commit = await bundle_from_local(repo / "sub", tmp_path / "copy.git", include_uncommitted=True)
    assert names_of(commit) == ["committed", "new", "staged", "sub/x"]
    assert plain_git("show", f"{commit.sha}:committed", cwd=commit.repository) == "changed"
    assert plain_git("status", "--porcelain", cwd=repo) + plain_git("for-each-ref", cwd=repo) == before
    workspace = FolderWorkspace(tmp_path / "w")
    await load(workspace, create(git, commit), commit.sha)
    assert await sh(workspace, "cat committed") == "changed"


async def test_nothing_uncommitted_is_just_head(tmp_path):
    repo = local_repository(tmp_path)
    plain_git("add", "-A", cwd=repo)
    plain_git("commit", "-qm", "all", cwd=repo)
    commit = await bundle_from_local(repo, tmp_path / "copy.git", include_uncommitted=True)
    assert commit.sha == plain_git("rev-parse", "HEAD", cwd=repo)


async def test_a_shallow_clone_of_the_users_works(tmp_path, git):
    repo = local_repository(tmp_path)
    plain_git("commit", "-qam", "second", cwd=repo)
    plain_git("clone", "-q", "--depth=1", f"file://{repo}", str(tmp_path / "clone"), cwd=tmp_path)
    commit = await bundle_from_local(tmp_path / "clone", tmp_path / "copy.git")
    round_trip = await start_round(git, commit, tmp_path)
    assert await sh(round_trip.workspace, "git log --format=%s") == "second"
    await round_trip.workspace.write_file("b", b"new")
    head = await round_trip.bring_back()
    assert [file.path for file in (await diff(git, round_trip.results, commit.sha, head)).files] == ["b"]
    assert plain_git("rev-list", "--count", head, cwd=round_trip.results) == "2"


async def test_a_folder_that_is_no_repository_says_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryUnknown, match="git init"):
        await bundle_from_local(tmp_path / "empty", tmp_path / "copy.git")
    plain_git("init", "-q", cwd=tmp_path / "empty")
    with pytest.raises(RepositoryUnknown, match="no commit yet"):
        await bundle_from_local(tmp_path / "empty", tmp_path / "copy.git")
    with pytest.raises(RepositoryUnknown, match="no folder"):
        await bundle_from_local(tmp_path / "nowhere", tmp_path / "copy.git")


async def test_a_machine_without_git_says_so(tmp_path):
    with pytest.raises(GitMissing, match="Install git"):
        await Git(GitSettings(executable="no-such-git")).run(["version"])
    with pytest.raises(GitMissing):
        await bundle_from_local(tmp_path, tmp_path / "copy.git", executable="no-such-git")


async def test_a_result_repository_borrows_rather_than_copies(server, origin, git, tmp_path):
    sha = origin.commit({"big": os.urandom(3_000_000)})
    commit = await RepositoryCache(tmp_path / "cache", git).fetch(server.url())
    results = await open_results(git, commit, tmp_path / "results")
    assert plain_git("cat-file", "-t", sha, cwd=results) == "commit"
    assert sum(path.stat().st_size for path in results.rglob("*") if path.is_file()) < 10_000


async def test_the_same_bundle_may_be_taken_twice(round_trip, git):
    await round_trip.workspace.write_file("a.txt", b"changed")
    base = round_trip.previous
    sha = await round_trip.bring_back()
    bundle = round_trip.spool / f"{sha}.bundle"
    assert await fetch_untrusted(git, bundle, round_trip.results, expected=sha, previous=base) == sha


async def test_an_empty_diff_is_empty(round_trip, git):
    found = await diff(git, round_trip.results, round_trip.base.sha, round_trip.base.sha)
    assert (found.empty, found.patch, found.files) == (True, b"", ())


async def test_a_diff_tells_renames_binaries_and_counts(round_trip, git):
    workspace = round_trip.workspace
    await workspace.write_file("long.txt", "".join(f"line {n}\n" for n in range(50)).encode())
    base = await round_trip.bring_back()
    await sh(workspace, "mv long.txt 'moved\tfile'; echo more >> 'moved\tfile'; printf '\\0\\1' > bin; rm dir/b.txt")
    await sh(workspace, "ln -sf /etc/passwd a.txt")
    head = await round_trip.bring_back()
    found = await diff(git, round_trip.results, base, head)
    assert found.files == (
        FileChange("a.txt", "type-changed", None, 1, 2),
        FileChange("bin", "added", None, 0, 0, binary=True),
        FileChange("dir/b.txt", "deleted", None, 0, 1),
        FileChange("moved\tfile", "renamed", "long.txt", 1, 0),
    )
    assert (found.additions, found.deletions, found.truncated) == (2, 3, False)


async def test_a_large_diff_is_cut_and_says_so(round_trip, git):
    await round_trip.workspace.write_file("big.txt", b"line\n" * 100_000)
    head = await round_trip.bring_back()
    found = await diff(git, round_trip.results, round_trip.base.sha, head, max_patch_bytes=10_000)
    assert (len(found.patch), found.truncated) == (10_000, True)
    assert found.files == (FileChange("big.txt", "added", None, 100_000, 0),)


def local_repository(folder: Path) -> Path:
    repo = folder / "user"
    (repo / "sub").mkdir(parents=True)
    plain_git("init", "-q", "-b", "main", cwd=repo)
    (repo / "committed").write_text("committed")
    (repo / "sub/x").write_text("x")
    (repo / ".git/info/exclude").write_text("ignored\n")
    plain_git("add", "-A", cwd=repo)
    plain_git("commit", "-qm", "first", cwd=repo)
    (repo / "committed").write_text("changed")
    (repo / "new").write_text("new")
    (repo / "ignored").write_text("ignored")
    (repo / "staged").write_text("staged")
    plain_git("add", "staged", cwd=repo)
    return repo


def names_of(commit) -> list[str]:
    return plain_git("ls-tree", "-r", "--name-only", commit.sha, cwd=commit.repository).splitlines()
