"""What an agent can plant in its repository: each attack works on a plain host git, and fails on the platform's way."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from engine.git.git_fixtures import Round, plain_git
from shopfloor.engine.git.bundles import create, fetch_untrusted
from shopfloor.engine.git.cache import Commit
from shopfloor.engine.git.diff import diff, patch
from shopfloor.engine.git.push import Author, commit_result

RUN = "{payload}"  # a script that leaves the marker and passes its input through


@dataclass(frozen=True)
class Attack:
    config: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # in the tree
    prepare: str = ""  # as the agent would, in the sandbox
    trigger: str = "git status"  # what a careless host would do


ATTACKS = {
    "fsmonitor": Attack({"core.fsmonitor": RUN}),
    "hook-post-checkout": Attack(
        prepare="mkdir -p .git/hooks; cp {payload} .git/hooks/post-checkout", trigger="git checkout -q HEAD"
    ),
    "hook-reference-transaction": Attack(
        prepare="mkdir -p .git/hooks; cp {payload} .git/hooks/reference-transaction",
        trigger="git update-ref refs/x HEAD",
    ),
    "hooks-path": Attack(
        {"core.hooksPath": "evil"},
        prepare="mkdir evil; cp {payload} evil/post-checkout",
        trigger="git checkout -q HEAD",
    ),
    "filter-clean": Attack({"filter.x.clean": RUN}, {".gitattributes": "* filter=x\n"}, trigger="git add -A"),
    "filter-smudge": Attack(
        {"filter.x.smudge": RUN}, {".gitattributes": "* filter=x\n"}, trigger="rm a.txt; git checkout -- a.txt"
    ),
    "filter-process": Attack({"filter.x.process": RUN}, {".gitattributes": "* filter=x\n"}, trigger="git add -A"),
    "filter-in-spite-of-no-textconv": Attack(
        {"filter.x.clean": RUN}, {".gitattributes": "* filter=x\n"}, trigger="git diff --no-ext-diff --no-textconv"
    ),
    "textconv": Attack({"diff.x.textconv": RUN}, {".gitattributes": "* diff=x\n"}, trigger="git diff"),
    "diff-driver": Attack({"diff.x.command": RUN}, {".gitattributes": "* diff=x\n"}, trigger="git diff"),
    "external-diff": Attack({"diff.external": RUN}, trigger="git diff"),
    "merge-driver": Attack(
        {"merge.x.driver": RUN},
        {".gitattributes": "* merge=x\n"},
        prepare="git checkout -qb other; echo o > a.txt; git commit -qam o; git checkout -q shopfloor; "
        "echo s > a.txt; git commit -qam s",
        trigger="git merge -q other",
    ),
    "ssh-command": Attack({"core.sshCommand": RUN}, trigger="git fetch ssh://nowhere.invalid/x"),
    "upload-pack": Attack({"remote.o.url": ".", "remote.o.uploadpack": RUN}, trigger="git fetch o"),
    "git-proxy": Attack({"core.gitProxy": RUN}, trigger="git fetch git://nowhere.invalid/x"),
    "ext-by-instead-of": Attack(
        {"url.ext::{payload} .insteadOf": "https://", "protocol.ext.allow": "always"},
        trigger="git fetch https://nowhere.invalid/x",
    ),
    "gpg-program": Attack({"gpg.program": RUN, "commit.gpgSign": "true"}, trigger="git commit --allow-empty -m x"),
    "editor": Attack({"core.editor": RUN}, trigger="git commit --allow-empty"),
    "pager": Attack({"core.pager": RUN}, trigger="""python3 -c 'import pty; pty.spawn(["git", "log"])'"""),
    "alias": Attack({"alias.st": "!{payload}"}, trigger="git st"),
    "include-path": Attack({"include.path": "../evil.config"}, {"evil.config": "[core]\n\tfsmonitor = {payload}\n"}),
    "submodule-update-command": Attack(
        {"submodule.m.update": "!{payload}", "submodule.m.url": "{root}"},
        {".gitmodules": '[submodule "m"]\n\tpath = m\n\turl = ./x\n'},
        prepare="git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),m; git commit -qm m; mkdir m; "
        "git clone -q . m; git -C m checkout -q HEAD~2",
        trigger="git submodule update m",
    ),
    "embedded-bare-repository": Attack(
        prepare="mkdir -p inner/objects inner/refs; echo 'ref: refs/heads/x' > inner/HEAD; "
        "git config -f inner/config core.repositoryformatversion 0; git config -f inner/config core.worktree .; "
        "git config -f inner/config core.bare false; git config -f inner/config core.fsmonitor {payload}",
        trigger="cd inner; git status",
    ),
    "worktree-elsewhere": Attack(
        {"core.worktree": "{outside}"},
        prepare="git update-index --add --cacheinfo 100644,$(git hash-object -w a.txt),marker; git commit -qm x",
        trigger="git checkout -qf HEAD",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_an_agent_plants_in_its_repository_runs_nothing_outside(name, round_trip: Round, tmp_path):
    attack = ATTACKS[name]
    outside = tmp_path / "outside"
    marker = outside / "marker"
    await plant(attack, round_trip, outside)

    # The control: a careless host opens the sandbox's repository with a plain git.
    workspace = round_trip.workspace
    plain = {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    result = await workspace.run(attack.trigger, timeout_s=20, env=plain)
    assert marker.exists(), f"the attack itself does not work: {result.output.decode(errors='replace')}"

    await workspace.write_file("work", b"what the agent was asked for")
    head = await round_trip.bring_back()
    marker.unlink()  # what ran inside the sandbox until here is contained there

    await the_platforms_way(round_trip, head)
    assert not marker.exists()


async def plant(attack: Attack, round_trip: Round, outside) -> None:
    outside.mkdir()
    payload = outside / "payload"
    payload.write_text(f'#!/bin/sh\ntouch {outside}/marker\nexec cat "$@" 2>/dev/null\n')
    payload.chmod(0o755)
    values = {"payload": str(payload), "outside": str(outside), "root": round_trip.workspace.root}

    def filled(text: str) -> str:
        for key, value in values.items():
            text = text.replace("{" + key + "}", value)
        return text

    workspace = round_trip.workspace
    await workspace.write_file("a.txt", b"changed\n")
    for path, content in attack.files.items():
        await workspace.write_file(path, filled(content).encode())
    prepared = await workspace.run(filled(f"set -e; git add -A; git commit -qm agent; {attack.prepare}"), timeout_s=20)
    assert prepared.ok, prepared.output
    await workspace.write_file("a.txt", b"changed again\n")
    for key, value in attack.config.items():
        assert (await workspace.run(["git", "config", filled(key), filled(value)], timeout_s=20)).ok


async def the_platforms_way(round_trip: Round, head: str) -> None:
    """All that the platform does with a result: fetch, diff, patch, commit, and a bundle for the checks' sandbox."""
    git, results, base = round_trip.git, round_trip.results, round_trip.base.sha
    await fetch_untrusted(git, round_trip.spool / f"{head}.bundle", results, expected=head, previous=base)
    found = await diff(git, results, base, head)
    assert "work" in {file.path for file in found.files}
    assert b"what the agent was asked for" in found.patch
    assert b"".join([piece async for piece in patch(git, results, base, head)])
    author = Author("Shopfloor", "bot@example.invalid")
    sha = await commit_result(
        git, results, base=base, head=head, message="x", author=author, at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert b"".join([piece async for piece in create(git, Commit(results, sha, "result"))])


ENVIRONMENT_ATTACKS = {
    "GIT_EXTERNAL_DIFF": ("{payload}", ["diff", "HEAD~1", "HEAD"]),
    "GIT_SSH_COMMAND": ("{payload}", ["ls-remote", "ssh://nowhere.invalid/x"]),
    "GIT_CONFIG_GLOBAL": ("{config}", ["st"]),
    "GIT_CONFIG_SYSTEM": ("{config}", ["st"]),
    "HOME": ("{home}", ["st"]),
    "GIT_CONFIG_PARAMETERS": ("'alias.st=!{payload}'", ["st"]),
}


@pytest.mark.parametrize("variable", ENVIRONMENT_ATTACKS)
async def test_the_platforms_own_environment_configures_nothing(variable, round_trip: Round, tmp_path, monkeypatch):
    value, arguments = ENVIRONMENT_ATTACKS[variable]
    payload, marker = tmp_path / "payload", tmp_path / "marker"
    payload.write_text(f"#!/bin/sh\ntouch {marker}\n")
    payload.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[alias]\n\tst = !{payload}\n")
    values = {"payload": str(payload), "config": str(tmp_path / ".gitconfig"), "home": str(tmp_path)}
    value = value.format(**values)
    await round_trip.workspace.write_file("a.txt", b"changed")
    head = await round_trip.bring_back()
    plain_git("update-ref", "HEAD", head, cwd=round_trip.results)

    plain = {"GIT_CONFIG_NOSYSTEM": "0", "HOME": "/nonexistent", variable: value}
    plain_git(*arguments, cwd=round_trip.results, check=False, **plain)
    assert marker.exists(), "the attack itself does not work"
    marker.unlink()

    monkeypatch.setenv(variable, value)
    await round_trip.git.run(arguments, round_trip.results)
    assert not marker.exists()
    assert os.environ[variable] == value
