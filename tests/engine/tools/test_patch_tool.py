from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.patch_apply import apply_hunks
from shopfloor.engine.tools.patch_text import parse
from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.engine.tools.result import ToolRefused
from shopfloor.engine.workspace import DiskFull
from shopfloor.testing.folder_workspace import FolderWorkspace

CODE = b"import os\n\n\ndef a():\n    x = 1\n    return x\n\n\ndef b():\n    x = 1\n    return x\n"


def patch(*lines: str) -> str:
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch"])


async def content(workspace: FolderWorkspace, path: str) -> bytes:
    return (await workspace.read_file(path)).data


async def test_files_are_added_changed_moved_and_deleted_at_once(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.py", CODE)
    await workspace.write_file("old.txt", b"gone\n")
    await workspace.write_file("from.txt", b"one\ntwo\n")
    text = patch(
        "*** Update File: a.py", "@@ def b():", "-    x = 1", "+    x = 2",
        "*** Add File: new/é.txt", "+first", "+", "+third",
        "*** Delete File: old.txt",
        "*** Update File: from.txt", "*** Move to: to.txt", "@@", " one", "-two", "+zwei",
    )  # fmt: skip
    result = await use("apply_patch", patch=text)
    assert result.text == "Applied:\nM a.py\nA new/é.txt\nD old.txt\nM from.txt -> to.txt"
    assert (await content(workspace, "a.py")).decode().count("x = 2") == 1
    assert (await content(workspace, "a.py")).decode().index("x = 2") > CODE.decode().index("def b")
    assert await content(workspace, "new/é.txt") == b"first\n\nthird\n"
    assert await content(workspace, "to.txt") == b"one\nzwei\n"
    paths = {entry.path for entry in (await workspace.list_files()).entries}
    assert not paths & {"old.txt", "from.txt"}


async def test_a_hunk_that_fits_nowhere_leaves_everything_as_it_was(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.py", CODE)
    text = patch("*** Add File: b.py", "+b", "*** Update File: a.py", "@@", " def a():", "-    x = 7", "+    x = 8")
    result = await use("apply_patch", patch=text)
    assert not result.ok
    assert "from line 4 on, 1 lines match, then the file has '    x = 1' where the patch has '    x = 7'" in result.text
    assert [entry.path for entry in (await workspace.list_files()).entries] == ["a.py"]
    assert await content(workspace, "a.py") == CODE


async def test_a_write_that_fails_half_way_is_undone(use: Any, tmp_path: Path) -> None:
    class Failing(FolderWorkspace):
        async def write_file(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
            if path == "c.txt":
                raise DiskFull("the workspace is full")
            await super().write_file(path, data, executable=executable)

    workspace = Failing(tmp_path / "failing")
    await workspace.write_file("a.txt", b"a\n")
    await workspace.write_file("d.txt", b"d\n")
    text = patch(
        "*** Update File: a.txt", "@@", "-a", "+A", "*** Add File: b.txt", "+b", "*** Delete File: d.txt",
        "*** Add File: c.txt", "+c",
    )  # fmt: skip
    result = await use("apply_patch", within=ToolContext(workspace=workspace), patch=text)
    assert (result.ok, "full" in result.text) == (False, True)
    assert {entry.path for entry in (await workspace.list_files()).entries} == {"a.txt", "d.txt"}
    assert await content(workspace, "a.txt") == b"a\n"
    assert await content(workspace, "d.txt") == b"d\n"


async def test_a_hunk_that_fits_twice_asks_for_more(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.py", CODE)
    result = await use("apply_patch", patch=patch("*** Update File: a.py", "@@", "-    x = 1", "+    x = 2"))
    assert "fits at lines 5, 10: add an `@@` line" in result.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing of the kind", "line 1 of the patch can't be read"),
        ("*** Begin Patch\n*** End Patch", "names no file"),
        ("*** Begin Patch\n*** Update File: a.py\n@@\n-x", "was it cut off"),
        (patch("+x"), "stands before any"),
        (patch("*** Rename File: a"), "can't be read"),
        (patch("*** Update File: a.py", "?what"), "must begin with a blank"),
        (patch("*** Update File: a.py"), "it has no hunks"),
        (patch("*** Add File: a.py", "+x"), "a.py exists"),
        (patch("*** Update File: b.py", "@@", "-x"), "No such file"),
        (patch("*** Update File: a.py", "@@ def zzz", "-x"), "`@@` line 'def zzz' is not in the file"),
        (patch("*** Delete File: a.py", "*** Delete File: a.py"), "names a file twice"),
        (patch("*** Update File: .git/config", "@@", "-x"), "below .git"),
        ("--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n import os\n", "shorter than its `@@` line"),
        ("+++ b/a.py\n", "without a `---` line"),
    ],
)
async def test_a_patch_that_can_not_be_applied_says_why(
    text: str, says: str, use: Any, workspace: FolderWorkspace
) -> None:
    await workspace.write_file("a.py", CODE)
    result = await use("apply_patch", patch=text)
    assert not result.ok
    assert says in result.text
    assert await content(workspace, "a.py") == CODE


async def test_a_diff_that_git_made_is_applied(use: Any, workspace: FolderWorkspace, tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / "a.py").write_bytes(CODE)
    (root / "bare.txt").write_bytes(b"no newline")
    (root / "moved.txt").write_bytes(b"1\n2\n3\n4\n5\n")

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", *arguments]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "base")
    (root / "a.py").write_bytes(CODE.replace(b"import os\n", b"import sys\n") + b"\n\nb()\n")
    (root / "bare.txt").write_bytes(b"still no newline")
    (root / "new.sh").write_bytes(b"#!/bin/sh\n")
    (root / "new.sh").chmod(0o755)
    (root / "moved.txt").rename(root / "there.txt")
    git("add", "-A")
    wanted, diff = git("write-tree"), git("diff", "--cached", "-M")
    git("reset", "-q", "--hard")
    assert (await use("apply_patch", patch=diff)).ok
    git("add", "-A")
    assert git("write-tree") == wanted


async def test_half_a_surrogate_pair_in_a_patch_is_refused(use: Any) -> None:
    assert not (await use("apply_patch", patch=patch("*** Add File: a", "+\udc80"))).ok


async def test_line_ends_and_blanks_at_line_ends_are_the_files_own(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a", b"one  \r\ntwo\r\nthree\r\n")
    assert (await use("apply_patch", patch=patch("*** Update File: a", "@@", " one", "-two", "+zwei", " three"))).ok
    assert await content(workspace, "a") == b"one  \r\nzwei\r\nthree\r\n"


async def test_what_a_patch_wrote_may_be_edited_without_reading(use: Any, workspace: FolderWorkspace) -> None:
    await use("apply_patch", patch=patch("*** Add File: a", "+one"))
    assert (await use("edit_file", path="a", old="one", new="two")).ok
    await use("apply_patch", patch=patch("*** Delete File: a"))
    assert (await use("write_file", path="a", content="new")).ok


async def test_a_policy_holds_for_every_file_of_a_patch(use: Any, workspace: FolderWorkspace) -> None:
    docs = ToolContext(workspace=workspace, policy=ToolPolicy(writable=("docs/**",)))
    both = patch("*** Add File: docs/a", "+a", "*** Add File: src/b", "+b")
    assert "src/b may not be written" in (await use("apply_patch", within=docs, patch=both)).text
    assert (await use("apply_patch", within=docs, patch=patch("*** Add File: docs/a", "+a"))).ok


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "  d", "é漢"]), max_size=25)


@settings(max_examples=150, deadline=None)
@given(old=LINES, new=LINES)
def test_any_unified_diff_turns_the_old_text_into_the_new(old: list[str], new: list[str]) -> None:
    import difflib

    lines = difflib.unified_diff(old, new, "a/f", "b/f", lineterm="")
    before, after = ("".join(f"{line}\n" for line in side) for side in (old, new))
    diff = "\n".join(lines) + "\n"
    if diff.strip():
        assert apply_hunks("f", before, parse(diff)[0].hunks) == after


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="*+-@ \nabBeginPatchEdUFl:/0123,", max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    for candidate in (text, f"*** Begin Patch\n*** Update File: a\n{text}\n*** End Patch"):
        try:
            files = parse(candidate)
            for file in files:
                apply_hunks(file.path, "a\nb\n", [hunk for hunk in file.hunks if hunk.lines])
        except ToolRefused:
            pass
