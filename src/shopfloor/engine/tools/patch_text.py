"""Reading a patch: the `*** Begin Patch` format that GPT-family models write, or a unified diff.

Source: OpenAI, GPT-4.1 prompting guide, appendix "apply_patch" (the grammar); POSIX `diff -u`; Git's extended headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from shopfloor.engine.tools.result import ToolRefused

Kind = Literal["add", "update", "delete"]
_RANGE = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_GIT_HEADERS = ("diff --git ", "index ", "old mode ", "new mode ", "similarity index ", "dissimilarity index ")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass
class Hunk:
    """Lines in order, each marked: `" "` stays, `"-"` goes, `"+"` comes."""

    lines: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    anchors: list[str] = field(default_factory=list[str])  # lines that stand somewhere above it
    near: int | None = None  # 0-based line where it should begin, if the patch says so
    at_end: bool = False  # its last line is the file's last
    ends_bare: bool = False  # the new text has no newline at its end

    @property
    def old(self) -> list[str]:
        """What must be there now."""
        return [text for mark, text in self.lines if mark != "+"]

    @property
    def changes(self) -> bool:
        """It adds or removes something."""
        return any(mark != " " for mark, _ in self.lines)


@dataclass
class FilePatch:
    """What happens to one file."""

    kind: Kind
    path: str
    hunks: list[Hunk] = field(default_factory=list[Hunk])
    move_to: str | None = None
    executable: bool | None = None

    def added_text(self) -> str:
        """The content of a file that is added."""
        lines = [text for hunk in self.hunks for mark, text in hunk.lines if mark == "+"]
        bare = bool(self.hunks) and self.hunks[-1].ends_bare
        return "\n".join(lines) + ("" if bare or not lines else "\n")


def parse(text: str) -> list[FilePatch]:
    """The files of a patch, in order. Raises: ToolRefused, naming the line it can't read."""
    lines = text.replace("\r\n", "\n").strip("\n").split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip() == "*** Begin Patch"), None)
    files = _envelope(lines, start + 1) if start is not None else _unified(lines)
    if not files:
        raise ToolRefused(
            "the patch names no file: write `*** Begin Patch`, `*** Update File: path`, hunks, `*** End Patch`, "
            "or a unified diff with `---` and `+++` lines"
        )
    return files


def _envelope(lines: list[str], start: int) -> list[FilePatch]:
    files: list[FilePatch] = []
    for number, line in enumerate(lines[start:], start + 1):
        if line.strip() == "*** End Patch":
            return files
        if line.startswith("*** "):
            _envelope_header(files, line, number)
        elif not files:
            raise ToolRefused(f"line {number} of the patch stands before any `*** Update File:` line: {line[:80]!r}")
        else:
            _envelope_line(files[-1], line, number)
    raise ToolRefused("the patch has no `*** End Patch` line: was it cut off?")


def _envelope_header(files: list[FilePatch], line: str, number: int) -> None:
    header, _, value = line.removeprefix("*** ").partition(":")
    value = value.strip()
    kinds: dict[str, Kind] = {"Add File": "add", "Update File": "update", "Delete File": "delete"}
    if header in kinds and value:
        files.append(FilePatch(kinds[header], value))
    elif header == "Move to" and value and files and files[-1].kind == "update":
        files[-1].move_to = value
    elif line.strip() == "*** End of File" and files and files[-1].hunks:
        files[-1].hunks[-1].at_end = True
    else:
        raise ToolRefused(f"line {number} of the patch can't be read: {line[:80]!r}")


def _envelope_line(file: FilePatch, line: str, number: int) -> None:
    if file.kind == "delete":
        if line.strip():
            raise ToolRefused(f"line {number}: a file that is deleted has no lines in the patch")
        return
    if line.startswith("@@"):
        _envelope_anchor(file, line)
        return
    mark = line[:1] or " "
    if mark not in {" ", "+", "-"} or (file.kind == "add" and mark != "+" and line):
        raise ToolRefused(f"line {number} must begin with a blank, `+` or `-`: {line[:80]!r}")
    if not file.hunks:
        file.hunks.append(Hunk())
    file.hunks[-1].lines.append(("+" if file.kind == "add" else mark, line[1:]))


def _envelope_anchor(file: FilePatch, line: str) -> None:
    anchor = line.removeprefix("@@").removesuffix("@@").strip() if not _RANGE.match(line) else ""
    if not file.hunks or file.hunks[-1].lines:
        file.hunks.append(Hunk())
    if anchor:
        file.hunks[-1].anchors.append(anchor)


def _unified(lines: list[str]) -> list[FilePatch]:
    reader = _UnifiedReader()
    for number, line in enumerate(lines, 1):
        reader.read(line, number)
    reader.finish()
    return reader.files


@dataclass
class _UnifiedReader:
    files: list[FilePatch] = field(default_factory=list[FilePatch])
    old_name: str | None = None
    renamed_from: str | None = None
    mode: bool | None = None
    old_left: int = 0  # lines that the hunk's header still promises
    new_left: int = 0

    def read(self, line: str, number: int) -> None:
        if self.old_left > 0 or self.new_left > 0:
            self._body(line, number)
        elif line == _NO_NEWLINE and self.files and self.files[-1].hunks:
            self._no_newline()
        elif line.startswith("@@"):
            self._hunk(line, number)
        else:
            self._header(line, number)

    def finish(self) -> None:
        if self.old_left > 0 or self.new_left > 0:
            raise ToolRefused("the last hunk is shorter than its `@@` line says: was the patch cut off?")

    def _header(self, line: str, number: int) -> None:
        if line.startswith("--- "):
            self.old_name = _name(line[4:])
        elif line.startswith("+++ "):
            self._file(_name(line[4:]), number)
        elif line.startswith("rename from "):
            self.renamed_from = line.removeprefix("rename from ")
        elif line.startswith("rename to ") and self.renamed_from:
            self.files.append(FilePatch("update", self.renamed_from, move_to=line.removeprefix("rename to ")))
        elif line.startswith(("new file mode ", "deleted file mode ")):
            self.mode = line.endswith("755") or None
        elif line.strip() and not line.startswith(_GIT_HEADERS):
            raise ToolRefused(f"line {number} of the patch can't be read: {line[:80]!r}")
        if line.startswith("diff --git "):
            self.renamed_from = self.mode = None

    def _file(self, new_name: str, number: int) -> None:
        if self.old_name is None:
            raise ToolRefused(f"line {number}: a `+++` line without a `---` line before it")
        if self.old_name == "/dev/null":
            self.files.append(FilePatch("add", new_name, executable=self.mode))
        elif new_name == "/dev/null":
            self.files.append(FilePatch("delete", self.old_name))
        elif not (self.renamed_from and self.files and self.files[-1].path == self.renamed_from):
            moved = new_name if new_name != self.old_name else None
            self.files.append(FilePatch("update", self.old_name, move_to=moved))
        self.old_name = None

    def _hunk(self, line: str, number: int) -> None:
        matched = _RANGE.match(line)
        if not matched or not self.files:
            raise ToolRefused(f"line {number}: a hunk begins with `@@ -line,count +line,count @@` below a file's name")
        self.old_left = int(matched[2] or 1)
        self.new_left = int(matched[4] or 1)
        self.files[-1].hunks.append(Hunk(near=max(int(matched[1]) - 1, 0)))

    def _body(self, line: str, number: int) -> None:
        mark = line[:1] or " "
        if line == _NO_NEWLINE:
            self._no_newline()
            return
        if mark not in {" ", "+", "-"}:
            raise ToolRefused(f"line {number} must begin with a blank, `+` or `-`: {line[:80]!r}")
        self.old_left -= mark != "+"
        self.new_left -= mark != "-"
        if self.old_left < 0 or self.new_left < 0:
            raise ToolRefused(f"line {number}: the hunk is longer than its `@@` line says; correct the counts")
        self.files[-1].hunks[-1].lines.append((mark, line[1:]))

    def _no_newline(self) -> None:
        hunk = self.files[-1].hunks[-1]
        hunk.ends_bare = hunk.ends_bare or bool(hunk.lines and hunk.lines[-1][0] != "-")


def _name(text: str) -> str:
    """The path of a `---` or `+++` line, without its time stamp and `a/` or `b/`."""
    path = text.split("\t", maxsplit=1)[0].strip()
    return path[2:] if path[:2] in {"a/", "b/"} else path


def paths_of(files: Iterable[FilePatch]) -> list[str]:
    """Every path a patch touches, in order, once."""
    return list(dict.fromkeys(path for file in files for path in (file.path, file.move_to) if path))
