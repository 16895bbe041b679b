from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from shopfloor.base.errors import Unavailable
from shopfloor.engine.tools.bounds import bounded, clean
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.engine.tools.result import ToolRefused
from shopfloor.engine.workspace import WorkspaceLost
from shopfloor.testing.folder_workspace import FolderWorkspace


async def test_a_command_shows_its_output_and_status(use: Any) -> None:
    result = await use("shell", command="echo out; echo err >&2; exit 3")
    assert (result.ok, result.facts["exit_code"]) == (False, 3)
    assert result.text.startswith("out\nerr\n[exit status 3, ")
    assert (await use("shell", command="true")).text.startswith("[exit status 0")


async def test_a_command_runs_where_it_is_told_to(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("sub/a", b"")
    assert (await use("shell", command="ls", cwd="sub")).text.startswith("a\n")
    assert not (await use("shell", command="ls", cwd="../..")).ok


async def test_a_command_is_killed_at_its_time_limit_and_at_the_policys(use: Any, context: ToolContext) -> None:
    slow = await use("shell", command="sleep 60", timeout_s=1)
    assert "killed: it ran longer than 1 s" in slow.text
    strict = replace(context, policy=ToolPolicy(max_command_s=1))
    assert "longer than 1 s" in (await use("shell", within=strict, command="sleep 60", timeout_s=500)).text


async def test_a_hundred_megabytes_are_shown_by_head_and_tail_and_kept_whole(use: Any, artifacts: Any) -> None:
    command = "echo first; head -c 104857600 /dev/zero | tr '\\0' x | fold -w 1000; echo; echo last"
    result = await use("shell", command=command, timeout_s=300)
    assert result.ok
    assert len(result.text) < 25_000
    assert result.text.startswith("first\nxxx")
    assert "last\n[exit status 0" in result.text
    assert "left out" in result.text
    assert result.artifact == "artifact:c1-output.log"
    assert artifacts.sizes["c1-output.log"] == result.facts["bytes"] > 104_857_600
    assert artifacts.heads["c1-output.log"].startswith(b"first\nxxx")


async def test_output_kept_whole_has_a_bound_too(use: Any, context: ToolContext, artifacts: Any) -> None:
    small = replace(context, policy=ToolPolicy(max_output_chars=500, max_artifact_bytes=10_000))
    await use("shell", within=small, command="head -c 300000 /dev/zero | tr '\\0' x")
    assert artifacts.sizes["c1-output.log"] == 10_000


async def test_short_output_makes_no_artifact(use: Any, artifacts: Any) -> None:
    assert (await use("shell", command="echo hi")).artifact is None
    assert artifacts.sizes == {}


async def test_an_artifact_store_that_fails_ends_the_call_instead_of_hanging(use: Any, context: ToolContext) -> None:
    class Broken:
        async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
            await anext(aiter(chunks))
            raise Unavailable(f"the store does not take {name}")

    broken = replace(context, artifacts=Broken())
    with pytest.raises(Unavailable):
        await asyncio.wait_for(use("shell", within=broken, command="head -c 9000000 /dev/zero | tr '\\0' x"), 30)


async def test_binary_output_and_colours_become_text(use: Any) -> None:
    result = await use("shell", command=r"printf '\033[31mred\033[0m \000\001\377 10%%\r20%%\r100%%\n'")
    assert result.text.startswith("100%\n")
    assert clean("\x1b]0;title\x07\x1b[1mbold\x1b[0m \0é\xff".encode("latin-1")) == "bold �\ufffd"


async def test_those_who_watch_see_output_at_a_bounded_rate(use: Any, context: ToolContext) -> None:
    notes: list[dict[str, Any]] = []

    async def note(kind: str, data: dict[str, Any]) -> None:
        assert kind == "tool.output"
        notes.append(data)

    watched = replace(context, note=note)
    await use("shell", within=watched, command="for n in $(seq 3000); do echo $n; done; sleep 0.4; echo end")
    assert len(notes) < 20
    assert notes[-1]["text"].endswith("end\n")
    assert all(len(data["text"]) <= 4_096 for data in notes)


async def test_checks_are_reported_one_by_one(use: Any, context: ToolContext) -> None:
    checked = replace(context, checks=("echo good", "echo bad; exit 1"))
    result = await use("run_tests", within=checked)
    assert not result.ok
    assert result.text.startswith("1 of 2 checks passed.\n\nPASSED: echo good\ngood\n[exit status 0")
    assert "FAILED: echo bad; exit 1\nbad\n[exit status 1" in result.text
    assert [check["passed"] for check in result.facts["checks"]] == [True, False]
    assert (await use("run_tests", within=checked, command="true")).ok


async def test_without_checks_a_command_is_asked_for(use: Any) -> None:
    assert "names no checks: give `command`" in (await use("run_tests")).text


async def test_grep_finds_in_any_script_and_says_when_there_is_nothing(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("src/ä.py", "x = 'naïve 漢字'\n".encode())
    await workspace.write_file("b.bin", b"\0naive")
    assert (await use("grep", pattern="漢字")).text == "src/ä.py:1:x = 'naïve 漢字'"
    assert (await use("grep", pattern="(", literal=True)).text.startswith("No match for '('")
    assert "No match" in (await use("grep", pattern="漢", glob="*.md")).text
    assert not (await use("grep", pattern="(")).ok
    assert (await use("grep", pattern="-e", literal=True)).ok  # a pattern is never taken for an option


async def test_grep_is_bounded(use: Any, workspace: FolderWorkspace) -> None:
    for number in range(30):
        await workspace.write_file(f"f{number}", b"needle and hay\n" * 200)
    result = await use("grep", pattern="needle")
    assert len(result.text) < 21_000
    assert "narrow the pattern" in result.text


async def test_a_diff_names_changes_and_new_files(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.txt", b"one\n")
    setup = "git init -q && git add . && git -c user.name=t -c user.email=t@example.invalid commit -qm base"
    await use("shell", command=setup)
    assert (await use("git_diff")).text == "Nothing differs from HEAD."
    await workspace.write_file("a.txt", b"two\n")
    await workspace.write_file("é new.txt", b"x")
    result = await use("git_diff")
    assert "-one\n+two" in result.text
    assert result.text.endswith("New files, not tracked yet (read_file shows them):\né new.txt")
    assert "a.txt | 2 +-" in (await use("git_diff", stat=True)).text


async def test_a_diff_where_there_is_no_repository_says_so(use: Any) -> None:
    result = await use("git_diff")
    assert (result.ok, "git can't read this workspace" in result.text) == (False, True)


async def test_a_plan_is_published_and_has_one_step_in_hand(use: Any, context: ToolContext) -> None:
    notes: list[Any] = []

    async def note(kind: str, data: dict[str, Any]) -> None:
        notes.append((kind, [step["status"] for step in data["steps"]]))

    watched = replace(context, note=note)
    steps = [{"step": "a", "status": "done"}, {"step": "b", "status": "in_progress"}]
    assert (await use("update_plan", within=watched, steps=steps)).text == "Plan noted: 1 of 2 steps are done."
    assert notes == [("plan.updated", ["done", "in_progress"])]
    refused = await use("update_plan", within=watched, steps=[{"step": "a", "status": "in_progress"}] * 2)
    assert "at most one step is in_progress" in refused.text


@pytest.mark.parametrize(
    "command", ["rm -rf x", "pytest; rm x", "pytest $(rm x)", "pytest > x", "pytest\nrm x", "pytestx"]
)
def test_where_commands_are_listed_others_are_refused(command: str) -> None:
    policy = ToolPolicy(commands="listed", allowed_commands=("pytest", "pytest *"))
    assert policy.check_command("pytest -q 'tests/a b'") == ["pytest", "-q", "tests/a b"]
    with pytest.raises(ToolRefused):
        policy.check_command(command)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("docs/a.md", True), ("docs/deep/er/a.md", True), ("./docs//a.md", True), ("src/a.py", False), ("docsx/a", False),
     ("docs/.env", False), (".git/hooks/x", False)],
)  # fmt: skip
def test_paths_are_written_only_where_the_policy_says(path: str, allowed: bool) -> None:
    policy = ToolPolicy(writable=("docs/**",), hidden=("**/.env", ".env"))
    if allowed:
        assert policy.check_write(path).startswith("docs/")
    else:
        with pytest.raises(ToolRefused):
            policy.check_write(path)


def test_narrowing_never_widens() -> None:
    loose, tight = (
        ToolPolicy(network=True),
        ToolPolicy(commands="none", writable=(), hidden=("secret",), max_command_s=5),
    )
    for policy in (loose.narrowed(tight), tight.narrowed(loose), loose.narrowed(loose).narrowed(tight)):
        assert (policy.network, policy.max_command_s, policy.all_hidden) == (False, 5, ("secret",))
        for refused in (policy.check_command, policy.check_read, policy.check_write):
            with pytest.raises(ToolRefused):
                refused("secret")
    assert loose.narrowed(loose).check_write("a") == "a"


async def test_hidden_files_are_neither_listed_nor_searched(
    use: Any, context: ToolContext, workspace: FolderWorkspace
) -> None:
    await workspace.write_file("conf/.env", b"needle")
    await workspace.write_file("conf/open", b"needle")
    hiding = replace(context, policy=ToolPolicy(hidden=("**/.env",)))
    assert (await use("list_files", within=hiding, path="conf")).text == "conf/open"
    assert (await use("grep", within=hiding, pattern="needle")).text == "conf/open:1:needle"
    assert "conf/.env" in (await use("grep", pattern="needle")).text  # the control


def test_a_long_text_keeps_whole_lines_at_both_ends() -> None:
    text = "\n".join(f"line {number}" for number in range(10_000))
    short = bounded(text, 1_000, note="see the log")
    assert short.startswith("line 0\n")
    assert short.endswith("\nline 9999")
    assert "characters left out; see the log" in short
    assert len(short) < 1_100
    assert bounded(text, len(text)) == text


async def test_what_is_not_the_models_mistake_rises(use: Any, workspace: FolderWorkspace) -> None:
    workspace.lose()
    with pytest.raises(WorkspaceLost):
        await use("list_files")
