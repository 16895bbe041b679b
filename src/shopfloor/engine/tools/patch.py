"""Changing several files at once, all or nothing: `apply_patch`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from pydantic import Field

from shopfloor.engine.tools.bounds import is_binary
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.files import digest, whole_file
from shopfloor.engine.tools.patch_apply import apply_hunks
from shopfloor.engine.tools.patch_text import FilePatch, parse, paths_of
from shopfloor.engine.tools.result import Arguments, ToolRefused, ToolResult
from shopfloor.engine.tools.tool import Tool
from shopfloor.engine.workspace import FileMissing, WorkspaceError

MAX_FILES = 100


class ApplyPatch(Arguments):
    """Arguments of `apply_patch`."""

    patch: str = Field(min_length=1, max_length=1_000_000, description="The whole patch.")


@dataclass(frozen=True, slots=True)
class _Change:
    """One file's fate: `before` and `after` are None where there is no file."""

    path: str
    before: bytes | None
    after: bytes | None
    executable: bool | None = None


async def apply_patch(arguments: ApplyPatch, context: ToolContext) -> ToolResult:
    """Work everything out first, then write; if a write fails, put back what was written."""
    files = parse(arguments.patch)
    if len(files) > MAX_FILES:
        raise ToolRefused(f"the patch touches {len(files)} files; {MAX_FILES} at a time are allowed")
    paths = [context.policy.check_write(path) for path in paths_of(files)]
    if len(set(paths)) < sum(1 + (file.move_to is not None) for file in files):
        raise ToolRefused("the patch names a file twice: put all hunks of a file under one heading")
    changes = [change for file in files for change in await _changes_of(file, context)]
    await _write_all(changes, context)
    return _report(files, changes)


async def _changes_of(file: FilePatch, context: ToolContext) -> list[_Change]:
    path = context.policy.check_write(file.path)
    if file.kind == "add":
        await _must_be_free(path, context)
        return [_Change(path, None, file.added_text().encode(), file.executable)]
    before = (await whole_file(context, path)).data
    if file.kind == "delete":
        return [_Change(path, before, None)]
    after = _patched(path, before, file)
    if file.move_to is None:
        return [_Change(path, before, after)]
    target = context.policy.check_write(file.move_to)
    await _must_be_free(target, context)
    return [_Change(target, None, after), _Change(path, before, None)]


def _patched(path: str, before: bytes, file: FilePatch) -> bytes:
    if not file.hunks and file.move_to is None:
        raise ToolRefused(f"the patch changes nothing in {path}: it has no hunks")
    if file.hunks and is_binary(before):
        raise ToolRefused(f"{path} is binary; a patch can't change it")
    text = before.decode("utf-8", "surrogateescape")  # bytes that are no UTF-8 stay what they are
    after = apply_hunks(path, text, [hunk for hunk in file.hunks if hunk.lines])
    return after.encode("utf-8", "surrogateescape")


async def _must_be_free(path: str, context: ToolContext) -> None:
    with contextlib.suppress(FileMissing):
        await context.workspace.read_file(path, limit_bytes=1)
        raise ToolRefused(f"{path} exists: use `*** Update File:`, or delete it first")


async def _write_all(changes: list[_Change], context: ToolContext) -> None:
    done: list[_Change] = []
    try:
        for change in changes:
            await _set(change.path, change.after, context, change.executable)
            done.append(change)
    except WorkspaceError:
        for change in reversed(done):
            await _set(change.path, change.before, context)
        raise


async def _set(path: str, data: bytes | None, context: ToolContext, executable: bool | None = None) -> None:  # noqa: FBT001 - three states
    if data is None:
        await context.workspace.delete_file(path)
    else:
        await context.workspace.write_file(path, data, executable=executable)


def _report(files: list[FilePatch], changes: list[_Change]) -> ToolResult:
    letters = {"add": "A", "update": "M", "delete": "D"}
    lines = [f"{letters[file.kind]} {file.path}" + (f" -> {file.move_to}" if file.move_to else "") for file in files]
    return ToolResult(
        "Applied:\n" + "\n".join(lines),
        seen={change.path: digest(change.after) for change in changes if change.after is not None},
        forgotten=tuple(change.path for change in changes if change.after is None),
        facts={"files": [{"path": file.path, "kind": file.kind} for file in files]},
    )


APPLY_PATCH = Tool(
    "apply_patch",
    "Change, add, move or delete files with one patch, all or nothing. Format:\n"
    "*** Begin Patch\n*** Update File: src/a.py\n@@ def total(items):\n context line\n-old line\n+new line\n"
    "*** Add File: src/b.py\n+first line\n*** Delete File: src/c.py\n*** End Patch\n"
    "`@@` names the function or class a hunk is in; lines that stay begin with a blank. "
    "A unified diff (`---`, `+++`, `@@ -1,2 +1,3 @@`) works too.",
    ApplyPatch,
    apply_patch,
    effects="tree",
)
TOOLS = (APPLY_PATCH,)
