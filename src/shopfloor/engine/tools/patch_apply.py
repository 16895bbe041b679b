"""Applying hunks to a text, purely: where each one fits, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable

from shopfloor.engine.tools.patch_text import Hunk
from shopfloor.engine.tools.result import ToolRefused

Sameness = Callable[[str], str]
# From exact to forgiving: models drop trailing blanks and re-indent; what is kept is always the file's own line.
_SAMENESS: tuple[Sameness, ...] = (lambda line: line.rstrip("\r"), str.rstrip, str.strip)


def apply_hunks(path: str, text: str, hunks: list[Hunk]) -> str:
    """`text` with all hunks applied, line ends kept. Raises: ToolRefused, saying which hunk does not fit and why."""
    lines = text.split("\n")
    line_end = "\r" if text.count("\r\n") * 2 > len(lines) - 1 > 0 else ""
    bare = lines[-1] != ""
    if not bare:
        lines.pop()
    cursor = shift = 0
    for number, hunk in enumerate(hunks, 1):
        at = _place(path, lines, hunk, cursor, shift, number)
        replaced = _replacement(lines, at, hunk, line_end)
        lines[at : at + len(hunk.old)] = replaced
        cursor = at + len(replaced)
        shift += len(replaced) - len(hunk.old)
        if hunk.ends_bare or (bare and at + len(replaced) == len(lines) and hunk.lines[-1][0] != " "):
            bare = hunk.ends_bare
    return "\n".join(lines) + ("" if bare or not lines else "\n")


def _replacement(lines: list[str], at: int, hunk: Hunk, line_end: str) -> list[str]:
    """What stands in the hunk's place: the file's own lines where they stay, the patch's where they are new."""
    result: list[str] = []
    for mark, text in hunk.lines:
        if mark == "+":
            result.append(text + line_end)
        else:
            if mark == " ":
                result.append(lines[at])
            at += 1
    return result


def _place(path: str, lines: list[str], hunk: Hunk, cursor: int, shift: int, number: int) -> int:
    """The line where `hunk` fits, at or below `cursor`."""
    for anchor in hunk.anchors:
        cursor = _below_anchor(path, lines, anchor, cursor, number)
    old = hunk.old
    if not old:
        return _insertion(lines, hunk, cursor, shift)
    for same in _SAMENESS:
        fits = _fits(lines, old, cursor, same)
        if hunk.at_end:
            fits = [at for at in fits if at + len(old) == len(lines)]
        if fits:
            return _choose(path, fits, hunk, shift, number)
    raise ToolRefused(_misfit(path, lines, old, number))


def _choose(path: str, fits: list[int], hunk: Hunk, shift: int, number: int) -> int:
    if hunk.near is not None:
        near = hunk.near + shift
        return min(fits, key=lambda at: abs(at - near))
    if len(fits) > 1 and not hunk.anchors:
        where = ", ".join(str(at + 1) for at in fits[:5])
        raise ToolRefused(
            f"hunk {number} of {path} fits at lines {where}: add an `@@` line naming the function or class it is in, "
            "or more lines around it"
        )
    return fits[0]


def _below_anchor(path: str, lines: list[str], anchor: str, cursor: int, number: int) -> int:
    for same in _SAMENESS:
        for at in range(cursor, len(lines)):
            if same(lines[at]) == same(anchor):
                return at + 1
    for at in range(cursor, len(lines)):  # models shorten the line: `@@ def total`
        if lines[at].strip().startswith(anchor):
            return at + 1
    raise ToolRefused(f"hunk {number} of {path}: the `@@` line {anchor!r} is not in the file below line {cursor}")


def _insertion(lines: list[str], hunk: Hunk, cursor: int, shift: int) -> int:
    """Where lines go that come without context: where the patch says, else below the anchor, else at the end."""
    if hunk.near is not None:  # `@@ -5,0` inserts behind line 5
        return min(hunk.near + shift + (1 if hunk.near or cursor else 0), len(lines))
    return cursor if hunk.anchors else len(lines)


def _fits(lines: list[str], old: list[str], start: int, same: Sameness) -> list[int]:
    wanted = [same(line) for line in old]
    present = [same(line) for line in lines]
    size = len(wanted)
    return [at for at in range(start, len(lines) - size + 1) if present[at : at + size] == wanted]


def _misfit(path: str, lines: list[str], old: list[str], number: int) -> str:
    """What stands in the file where the hunk comes nearest."""
    first = next((line.strip() for line in old if line.strip()), "")
    near = [at for at, line in enumerate(lines) if line.strip() == first]
    if not near:
        return f"hunk {number} does not fit {path}: its line {first[:120]!r} is not there. Read the file again"
    best = max(near, key=lambda at: _common(lines, old, at))
    same = _common(lines, old, best)
    there = lines[best + same] if best + same < len(lines) else "the end of the file"
    return (
        f"hunk {number} does not fit {path}: from line {best + 1} on, {same} lines match, then the file has "
        f"{there[:120]!r} where the patch has {old[same][:120]!r}"
    )


def _common(lines: list[str], old: list[str], at: int) -> int:
    start = next((number for number, line in enumerate(old) if line.strip()), 0)
    count = 0
    for here, wanted in zip(lines[at:], old[start:], strict=False):
        if here.strip() != wanted.strip():
            break
        count += 1
    return min(start + count, len(old) - 1)
