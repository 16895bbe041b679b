"""Reading and writing files: `read_file`, `list_files`, `write_file`, `edit_file`."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field, StringConstraints

from shopfloor.engine.tools.bounds import bounded, is_binary
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.nearest import nearest_paths
from shopfloor.engine.tools.result import Arguments, ToolRefused, ToolResult
from shopfloor.engine.tools.tool import Tool
from shopfloor.engine.workspace import FileContent, FileMissing

Path = Annotated[str, StringConstraints(min_length=1, max_length=4_096, pattern=r"^[^\x00]+$")]
PART_BYTES = 1_048_576  # read at a time
MAX_SCAN_BYTES = 33_554_432  # how far into a file a line number is looked for
MAX_EDIT_BYTES = 8_388_608
MAX_LINE_CHARS = 2_000


class ReadFile(Arguments):
    """Arguments of `read_file`."""

    path: Path = Field(description="Relative to the workspace root.")
    start_line: int = Field(default=1, ge=1, le=10_000_000, description="First line, counted from 1.")
    lines: int = Field(default=600, ge=1, le=2_000, description="How many lines at most.")


class ListFiles(Arguments):
    """Arguments of `list_files`."""

    path: Path = Field(default=".", description="A folder, relative to the workspace root.")
    depth: int = Field(default=2, ge=1, le=10, description="How many levels down.")
    limit: int = Field(default=300, ge=1, le=1_000, description="How many entries at most.")


class WriteFile(Arguments):
    """Arguments of `write_file`."""

    path: Path = Field(description="Relative to the workspace root; missing folders are made.")
    content: str = Field(max_length=MAX_EDIT_BYTES, description="The whole new content.")
    executable: bool | None = Field(default=None, description="Set or clear the executable bit; left out: as it is.")


class EditFile(Arguments):
    """Arguments of `edit_file`."""

    path: Path = Field(description="A file read before in this job.")
    old: str = Field(
        min_length=1, max_length=200_000, description="The exact text to replace, with enough lines to be unique."
    )
    new: str = Field(max_length=200_000, description="What stands there afterwards.")
    all_occurrences: bool = Field(default=False, description="Replace every occurrence instead of exactly one.")


async def read_file(arguments: ReadFile, context: ToolContext) -> ToolResult:
    """Numbered lines of a text file; of a binary one only what it is."""
    path = context.policy.check_read(arguments.path)
    first = await open_file(context, path)
    if is_binary(first.data):
        text = f"{path} is binary ({first.size_bytes:,} bytes, SHA-256 {first.digest}); it can't be shown as text."
        return ToolResult(text, seen={path: first.digest})
    lines, more = await _lines(arguments, context, path, first)
    return ToolResult(_numbered(arguments, path, lines, more, context), seen={path: first.digest})


async def list_files(arguments: ListFiles, context: ToolContext) -> ToolResult:
    """One path a line; folders end in `/`, links are marked."""
    path = context.policy.check_read(arguments.path)
    try:
        listing = await context.workspace.list_files(path, depth=arguments.depth, limit=arguments.limit)
    except FileMissing as error:
        raise await _missing(context, path, error) from error
    marks = {"directory": "/", "symlink": " (link)", "other": " (special)", "file": ""}
    shown = [entry for entry in listing.entries if not context.policy.hides(entry.path)]
    lines = [f"{entry.path}{marks[entry.kind]}" for entry in shown]
    if listing.truncated:
        lines.append(f"[... more than {arguments.limit} entries; name a folder below, or use grep]")
    return ToolResult(bounded("\n".join(lines) or f"{path} is empty.", context.policy.max_output_chars))


async def write_file(arguments: WriteFile, context: ToolContext) -> ToolResult:
    """Create a file, or replace one that was read before."""
    path = context.policy.check_write(arguments.path)
    before = await _present(context, path)
    if before is not None:
        check_seen(context, path, before.digest)
    data = arguments.content.encode()
    await context.workspace.write_file(path, data, executable=arguments.executable)
    verb = "Created" if before is None else "Replaced"
    text = f"{verb} {path}: {arguments.content.count(chr(10)):,} lines, {len(data):,} bytes."
    return ToolResult(text, seen={path: digest(data)}, facts={"path": path, "created": before is None})


async def edit_file(arguments: EditFile, context: ToolContext) -> ToolResult:
    """Replace one exact piece of a file that was read before."""
    path = context.policy.check_write(arguments.path)
    before = await whole_file(context, path)
    check_seen(context, path, before.digest)
    old, new = _in_the_files_line_ends(before.data, arguments.old.encode(), arguments.new.encode())
    count = before.data.count(old)
    if count == 0:
        raise ToolRefused(_no_match(path, before.data, arguments.old))
    if count > 1 and not arguments.all_occurrences:
        raise ToolRefused(
            f"`old` occurs {count} times in {path}, at lines {_line_numbers(before.data, old)}: "
            "add surrounding lines to make it unique, or set all_occurrences"
        )
    after = before.data.replace(old, new)
    await context.workspace.write_file(path, after)
    text = f"Edited {path}: {count} replacement{'s' if count > 1 else ''} at line {_line_numbers(before.data, old)}."
    return ToolResult(text, seen={path: digest(after)}, facts={"path": path, "replacements": count})


async def open_file(context: ToolContext, path: str, offset: int = 0) -> FileContent:
    """One part of a file. Raises: ToolRefused, with the nearest paths, if there is none."""
    try:
        return await context.workspace.read_file(path, offset=offset, limit_bytes=PART_BYTES)
    except FileMissing as error:
        raise await _missing(context, path, error) from error


async def whole_file(context: ToolContext, path: str) -> FileContent:
    """A file that is about to be changed. Raises: ToolRefused if it is too big for that."""
    first = await open_file(context, path)
    if first.size_bytes > MAX_EDIT_BYTES:
        raise ToolRefused(f"{path} has {first.size_bytes:,} bytes; files over {MAX_EDIT_BYTES:,} are changed by shell")
    if first.size_bytes <= len(first.data):
        return first
    return await context.workspace.read_file(path, limit_bytes=MAX_EDIT_BYTES)


def check_seen(context: ToolContext, path: str, current: str) -> None:
    """Raises: ToolRefused if the model doesn't know what the file holds now."""
    known = context.seen.get(path)
    if known is None:
        raise ToolRefused(f"read {path} first: it exists, and what it holds has not been seen in this job")
    if known != current:
        raise ToolRefused(f"{path} has changed since it was read (a command may have written it): read it again")


def digest(data: bytes) -> str:
    """SHA-256 in hex, as FileContent has it."""
    return hashlib.sha256(data).hexdigest()


async def _present(context: ToolContext, path: str) -> FileContent | None:
    try:
        return await context.workspace.read_file(path, limit_bytes=1)
    except FileMissing:
        return None


async def _missing(context: ToolContext, path: str, error: FileMissing) -> FileMissing:
    candidates = await nearest_paths(context, path)
    hint = f"did you mean {', '.join(candidates)}?" if candidates else "list_files shows what there is"
    return FileMissing(f"{error.detail.rstrip('.')}; {hint}", path=path)


async def _lines(arguments: ReadFile, context: ToolContext, path: str, part: FileContent) -> tuple[list[bytes], bool]:
    """The lines asked for, and whether there are more behind them."""
    wanted = arguments.start_line - 1 + arguments.lines
    data, offset = part.data, len(part.data)
    while data.count(b"\n") < wanted and offset < min(part.size_bytes, MAX_SCAN_BYTES):
        part = await open_file(context, path, offset)
        if not part.data:
            break
        data, offset = data + part.data, offset + len(part.data)
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return lines[arguments.start_line - 1 : wanted], len(lines) > wanted or offset < part.size_bytes


def _numbered(arguments: ReadFile, path: str, lines: list[bytes], more: bool, context: ToolContext) -> str:  # noqa: FBT001 - a fact, not a switch
    if not lines:
        return f"{path} is empty." if arguments.start_line == 1 else f"{path} ends before line {arguments.start_line}."
    shown: list[str] = []
    room = context.policy.max_output_chars
    for number, raw in enumerate(lines, arguments.start_line):
        line = raw.decode("utf-8", "replace").rstrip("\r")
        cut = f"{line[:MAX_LINE_CHARS]} [... {len(line) - MAX_LINE_CHARS:,} more characters]"
        shown.append(f"{number:>6}\t{line if len(line) <= MAX_LINE_CHARS else cut}")
        room -= len(shown[-1]) + 1
        if room < 0:
            more = True
            break
    last = arguments.start_line + len(shown) - 1
    tail = f"\n[... more: read on with start_line={last + 1}]" if more else ""
    return "\n".join(shown) + tail


def _in_the_files_line_ends(data: bytes, old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """A model writes LF; where the file has CRLF and `old` doesn't match as it is, both sides become CRLF."""
    if old in data or b"\r\n" not in data or b"\r\n" in old:
        return old, new
    return old.replace(b"\n", b"\r\n"), new.replace(b"\n", b"\r\n")


def _line_numbers(data: bytes, piece: bytes) -> str:
    """The lines where `piece` begins, at most eight of them."""
    numbers: list[int] = []
    at = data.find(piece)
    while at >= 0 and len(numbers) < 8:  # noqa: PLR2004 - enough to act on
        numbers.append(data.count(b"\n", 0, at) + 1)
        at = data.find(piece, at + len(piece))
    return ", ".join(str(number) for number in numbers)


def _no_match(path: str, data: bytes, old: str) -> str:
    """Why nothing matched, with the nearest place if the first line or its words are there."""
    lines = data.decode("utf-8", "replace").splitlines()
    first = next((line.strip() for line in old.splitlines() if line.strip()), "")
    near = [number for number, line in enumerate(lines, 1) if first and line.strip() == first][:5]
    if near:
        where = ", ".join(str(number) for number in near)
        return (
            f"`old` is not in {path} as written. Its first line stands at line {where}, so a later line or the "
            "indentation differs: read those lines again and copy them exactly"
        )
    return f"`old` is not in {path}, nor is its first line: read the file again and copy the text exactly"


READ_FILE = Tool(
    "read_file",
    "Read a text file with line numbers. Reads 600 lines unless told otherwise; go on with start_line. "
    "The line numbers and the tab behind them are not part of the file.",
    ReadFile,
    read_file,
)
LIST_FILES = Tool("list_files", "List files and folders, `.git` left out, sorted by path.", ListFiles, list_files)
WRITE_FILE = Tool(
    "write_file",
    "Create a file or replace it whole. To change part of an existing file use edit_file. "
    "A file that exists must have been read in this job first.",
    WriteFile,
    write_file,
    effects="tree",
)
EDIT_FILE = Tool(
    "edit_file",
    "Replace one exact piece of text in a file that was read before in this job. `old` must match exactly, "
    "blanks and indentation included, and occur once.",
    EditFile,
    edit_file,
    effects="tree",
)
TOOLS = (READ_FILE, LIST_FILES, WRITE_FILE, EDIT_FILE)
