from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shopfloor.engine.tools.context import ToolContext
from shopfloor.testing.folder_workspace import FolderWorkspace


async def test_a_file_is_read_with_line_numbers(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.txt", "één\ntwo\n三".encode())
    assert (await use("read_file", path="./a.txt")).text == "     1\téén\n     2\ttwo\n     3\t三"


async def test_reading_goes_on_where_it_is_told_to(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.txt", b"".join(b"%d\n" % n for n in range(1, 2_000)))
    part = await use("read_file", path="a.txt", start_line=700, lines=2)
    assert part.text == "   700\t700\n   701\t701\n[... more: read on with start_line=702]"
    last = await use("read_file", path="a.txt", start_line=1_999)
    assert last.text == "  1999\t1999"
    assert "ends before line 5000" in (await use("read_file", path="a.txt", start_line=5_000)).text


async def test_a_line_far_into_a_big_file_is_found(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("big.txt", b"".join(b"line %d\n" % n for n in range(1, 300_001)))
    part = await use("read_file", path="big.txt", start_line=250_000, lines=1)
    assert part.text.startswith("250000\tline 250000\n")


async def test_long_lines_and_long_files_are_cut_and_said_to_be(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.txt", (b"x" * 100_000 + b"\n") * 50)
    result = await use("read_file", path="a.txt")
    assert len(result.text) < 24_000
    assert "98,000 more characters" in result.text
    assert "read on with start_line=" in result.text


async def test_a_binary_file_is_described_not_shown(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a.png", b"\x89PNG\r\n\x1a\n\0\0\0")
    result = await use("read_file", path="a.png")
    assert result.ok
    assert "a.png is binary (11 bytes" in result.text
    assert "\0" not in result.text


async def test_a_wrong_path_brings_those_it_may_have_meant(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("src/app/models.py", b"")
    await workspace.write_file("src/app/view.py", b"")
    assert "did you mean src/app/models.py?" in (await use("read_file", path="models.py")).text
    assert "did you mean src/app/view.py" in (await use("read_file", path="src/app/views.py")).text
    result = await use("read_file", path="nothing/like/it.rs")
    assert (result.ok, "list_files shows what there is" in result.text) == (False, True)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../outside", "link"])
async def test_nothing_outside_the_workspace_is_read_or_written(path: str, use: Any, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "outside")
    for tool, more in (
        ("read_file", {}),
        ("write_file", {"content": "x"}),
        ("edit_file", {"old": "s", "new": "x"}),
        ("apply_patch", {"patch": f"*** Begin Patch\n*** Update File: {path}\n@@\n-secret\n+x\n*** End Patch"}),
    ):
        arguments = {"patch": more["patch"]} if "patch" in more else {"path": path, **more}
        result = await use(tool, **arguments)
        assert not result.ok, tool
        assert "secret" not in result.text.replace("-secret", "").replace("'secret'", ""), tool
    assert (tmp_path / "outside").read_text() == "secret"


async def test_the_control_a_path_inside_is_read_and_written(use: Any, tmp_path: Path) -> None:
    (tmp_path / "work" / "inside").write_text("secret")
    assert "secret" in (await use("read_file", path="inside")).text
    assert (await use("edit_file", path="inside", old="s", new="x", all_occurrences=True)).ok


async def test_names_in_any_script_work(use: Any, workspace: FolderWorkspace) -> None:
    for name in ("日本語/ファイル.txt", "عربى.md", "emoji-🙂.txt", "with space and 'quote'.txt", "-rf", "Ünïcode.py"):
        assert (await use("write_file", path=name, content="x\n")).ok, name
        assert (await use("read_file", path=name)).text == "     1\tx", name
        assert (await use("edit_file", path=name, old="x", new="y")).ok, name
        assert name in (await use("list_files", depth=3)).text, name
        assert name in (await use("grep", pattern="y", path=name)).text, name


async def test_an_existing_file_is_not_replaced_unread(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a", b"old\n")
    refused = await use("write_file", path="a", content="new\n")
    assert (refused.ok, "read a first" in refused.text) == (False, True)
    await use("read_file", path="a")
    assert (await use("write_file", path="a", content="new\n")).text == "Replaced a: 1 lines, 4 bytes."
    assert (await use("edit_file", path="a", old="new", new="newer")).ok  # what it wrote, it knows


async def test_an_edit_wants_a_read_of_what_is_there_now(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a", b"one\n")
    assert "read a first" in (await use("edit_file", path="a", old="one", new="two")).text
    await use("read_file", path="a")
    await workspace.write_file("a", b"one\nmore\n")
    assert "has changed since it was read" in (await use("edit_file", path="a", old="one", new="two")).text
    await use("read_file", path="a")
    assert (await use("edit_file", path="a", old="one", new="two")).ok


async def test_an_edit_that_fits_twice_says_where(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a", b"x = 1\ny = 2\nx = 1\n")
    await use("read_file", path="a")
    refused = await use("edit_file", path="a", old="x = 1", new="x = 3")
    assert "occurs 2 times in a, at lines 1, 3" in refused.text
    done = await use("edit_file", path="a", old="x = 1", new="x = 3", all_occurrences=True)
    assert done.text == "Edited a: 2 replacements at line 1, 3."


async def test_an_edit_that_fits_nowhere_says_what_is_near(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a", b"def f():\n    return 1\n")
    await use("read_file", path="a")
    near = await use("edit_file", path="a", old="def f():\n  return 1", new="")
    assert "Its first line stands at line 1" in near.text
    assert "nor is its first line" in (await use("edit_file", path="a", old="class Q:", new="")).text


async def test_an_edit_keeps_line_ends_and_bytes_that_are_no_text(use: Any, workspace: FolderWorkspace) -> None:
    await workspace.write_file("a", b"one\r\ntwo\r\n\xff\xfe\r\n")
    await use("read_file", path="a")
    assert (await use("edit_file", path="a", old="one\ntwo", new="1\n2")).ok
    assert (await workspace.read_file("a")).data == b"1\r\n2\r\n\xff\xfe\r\n"


async def test_half_a_surrogate_pair_is_refused(use: Any) -> None:
    assert "content: Input should be a valid string" in (await use("write_file", path="a", content="\ud800")).text


async def test_a_full_disk_is_told(tmp_path: Path, use: Any) -> None:
    full = ToolContext(workspace=FolderWorkspace(tmp_path / "full", disk_limit_bytes=1_000))
    result = await use("write_file", within=full, path="a", content="x" * 2_000)
    assert (result.ok, "full" in result.text.lower()) == (False, True)


async def test_a_listing_is_cut_at_its_limit(use: Any, workspace: FolderWorkspace) -> None:
    for number in range(12):
        await workspace.write_file(f"d/{number:02}", b"")
    result = await use("list_files", path="d", limit=10)
    assert "more than 10 entries" in result.text
    assert (await use("list_files", path="e")).text.startswith("No such file")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "path: Field required"),
        ({"path": ""}, "path: String should have at least 1 character"),
        ({"path": "a", "lines": 0}, "lines: Input should be greater than or equal to 1"),
        ({"path": "a", "lines": "many"}, "lines: Input should be a valid integer"),
        ({"path": "a\0b"}, "path: String should match"),
        ({"path": "a", "line": 1}, "line: Extra inputs are not permitted"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(arguments: dict[str, Any], says: str, use: Any) -> None:
    result = await use("read_file", **arguments)
    assert not result.ok
    assert says in result.text
