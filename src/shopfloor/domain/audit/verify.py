"""Checks an export with nothing but a public key: on any machine, without a database. Names the first bad row.

Source: docs/reference/audit-format.md, which says what each rule below is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import orjson

from shopfloor.domain.audit.canonical import NotCanonical, canonical
from shopfloor.domain.audit.entry import SALT_BYTES, commitment
from shopfloor.domain.audit.lines import FORMAT, RESTORED
from shopfloor.domain.audit.merkle import Tree, leaf_hash
from shopfloor.domain.audit.note import Checkpoint, NoteRefused, VerifierKey, read

Wrong = Literal["malformed", "changed", "missing", "inserted", "reordered", "truncated", "forged", "rolled-back"]
Json = dict[str, Any]

MOST_LINE_BYTES = 1 << 20
_HEADER = {"kind", "format", "origin", "key"}
_ENTRY = {"kind", "index", "entry", "origin", "hash"}
_START = Checkpoint("", 0, b"", "", 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """The first row that is not what was signed. `index` is its place; where only a range is known, the first of it."""

    wrong: Wrong
    detail: str
    line: int | None = None  # of the file that was read; 1 is the first
    index: int | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """A signed `audit.restored`: checkpoints over more than `size` entries, signed before `at`, were given up by it."""

    index: int
    id: str
    size: int
    at: str


@dataclass
class Report:
    """What was checked. `bad` None: everything holds."""

    entries: int = 0
    checkpoints: int = 0
    root: str = ""
    erased: int = 0  # entries whose origin was known once: erased on purpose, the commitment is still in the tree
    restores: list[Restore] = field(default_factory=list[Restore])
    given_up: int = 0  # checkpoints kept outside that a restore explains
    bad: Finding | None = None


class _Bad(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


def verify(lines: Iterable[bytes], key: VerifierKey, *, against: Iterable[bytes] | None = None) -> Report:
    """Read an export line by line; `against`: the lines of a checkpoint file that was kept outside."""
    check = _Check(key)
    try:
        outside = [] if against is None else _outside(against, key)
        check.whole(iter(lines), {each.size for each in outside})
        check.compare(outside)
    except _Bad as bad:
        check.report.bad = bad.finding
    return check.report


class _Check:
    def __init__(self, key: VerifierKey) -> None:
        self.key = key
        self.organization = key.name.rpartition("/")[2]
        self.report = Report()
        self.tree = Tree()
        self.last: Checkpoint = _START
        self.last_id = ""  # of the entry before, within the same checkpoint
        self.first_id: str | None = None  # of the first entry behind the last checkpoint
        self.roots: dict[int, bytes] = {}  # at the sizes of checkpoints outside
        self.line: int = 0

    def whole(self, lines: Iterator[bytes], sizes: set[int]) -> None:
        """Header, entries and checkpoints, end."""
        ended = False
        for line in lines:
            self.line += 1
            if ended:
                raise self._bad("inserted", "Lines follow the end of the export.")
            value = self._parsed(line)
            match value.get("kind"):
                case "entry" if self.line > 1:
                    self._entry(value, lines)
                    if self.tree.size in sizes:
                        self.roots[self.tree.size] = self.tree.root()
                case "checkpoint" if self.line > 1:
                    self._checkpoint(value)
                case "end" if self.line > 1:
                    self._end(value)
                    ended = True
                case "header" if self.line == 1:
                    self._header(value)
                case _:
                    raise self._bad("malformed", "This line is none of header (the first), entry, checkpoint, end.")
        if not ended:
            raise self._bad("truncated", "The export has no end: its last lines are gone.", self.tree.size)
        self.report.root = self.tree.root().hex()

    def compare(self, outside: list[Checkpoint]) -> None:
        """Every checkpoint kept outside is the beginning of this log, or was given up by a restore that is signed."""
        same = 0
        for each in sorted(outside, key=lambda checkpoint: checkpoint.size):
            if self.roots.get(each.size) == each.root:
                same = max(same, each.size)
            elif any(restore.size < each.size and each.at <= restore.at for restore in self.report.restores):
                self.report.given_up += 1
            else:
                raise _Bad(Finding(
                    "rolled-back",
                    f"A checkpoint signed at {each.at} covers {each.size} entries, and this export is not their "
                    f"continuation: it was put back to {same} entries or fewer, or its tail was cut off, and no "
                    f"{RESTORED} says so.",
                    index=same,
                ))  # fmt: skip

    def _header(self, value: Json) -> None:
        if value.keys() != _HEADER or value["format"] != FORMAT or value["origin"] != self.key.name:
            raise self._bad("malformed", f"The header is not of {FORMAT} and the log {self.key.name}.")

    def _entry(self, line: Json, rest: Iterator[bytes]) -> None:
        entry, index, claimed = line.get("entry"), line.get("index"), line.get("hash")
        if line.keys() != _ENTRY or type(entry) is not dict or type(index) is not int:
            raise self._bad("malformed", "An entry without its parts.", self.tree.size)
        entry = cast("Json", entry)
        entry_id = str(entry.get("id"))
        if index != self.tree.size:
            raise self._out_of_place(index, entry_id, rest)
        digest = leaf_hash(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
        if digest.hex() != claimed:  # a number that orjson writes otherwise ends here too: none is ever made
            digest = leaf_hash(canonical(entry))
        if digest.hex() != claimed:
            raise self._bad("changed", "The entry is not what its hash is of.", index, entry_id)
        if entry.get("organization") != self.organization:
            raise self._bad("inserted", "The entry is of another organization's log.", index, entry_id)
        if entry_id <= self.last_id:
            raise self._bad("reordered", "Entries of one checkpoint stand in the order of their ids.", index, entry_id)
        self._origin(entry, line["origin"], index)
        if entry.get("action") == RESTORED:
            self._restore(entry, index)
        self.first_id = self.first_id or entry_id
        self.last_id = entry_id
        self.tree.add(digest)
        self.report.entries += 1

    def _out_of_place(self, index: int, entry_id: str, rest: Iterator[bytes]) -> _Bad:
        expected = self.tree.size
        if index < expected:
            return self._bad("inserted", f"The place {index} was taken already.", index, entry_id)
        start = self.line
        for number, line in enumerate(rest, start + 1):
            self.line = number
            found = self._parsed(line)
            if found.get("kind") == "entry" and found.get("index") == expected:
                found_id = str(cast("Json", found.get("entry") or {}).get("id"))
                return self._bad("reordered", f"The entry of place {expected} stands later.", expected, found_id)
        self.line = start
        return self._bad("missing", f"Here stands {index} ({entry_id}), and {expected} nowhere.", expected)

    def _origin(self, entry: Json, origin: Any, index: int) -> None:
        committed = cast("Json", entry.get("origin") or {}).get("commitment")
        if origin is None:
            self.report.erased += committed is not None
            return
        try:
            salt = bytes.fromhex(origin["salt"])
            fits = len(salt) == SALT_BYTES and commitment(salt, origin["address"], origin["agent"]) == committed
        except (KeyError, TypeError, ValueError, NotCanonical):
            fits = False
        if not fits or len(origin) != 3:  # noqa: PLR2004 - the three above
            raise self._bad(
                "changed", "Address or program are not those that the entry commits to.", index, str(entry["id"])
            )

    def _restore(self, entry: Json, index: int) -> None:
        size = cast("Json", entry.get("after") or {}).get("size")
        if type(size) is int and 0 < size <= index and entry.get("result") == "done":
            self.report.restores.append(Restore(index, str(entry["id"]), size, str(entry["at"])))

    def _checkpoint(self, value: Json) -> None:
        try:
            found = read(str(value.get("note")), self.key)
        except NoteRefused as error:
            raise self._bad("forged", error.detail, self.last.size, self.first_id) from None
        size = self.tree.size
        if found.after != self.last.size or found.size <= self.last.size:
            wrong: Wrong = "missing" if found.after > self.last.size else "reordered"
            raise self._bad(
                wrong, f"This checkpoint follows one over {found.after} entries; here it follows {self.last.size}.",
                self.last.size, self.first_id,
            )  # fmt: skip
        between = f"between the places {self.last.size} and {found.size - 1}"
        if found.size > size:
            raise self._bad(
                "missing", f"{found.size - size} of the entries {between} is not there.", self.last.size, self.first_id
            )
        if found.size < size:
            raise self._bad(
                "inserted", f"{size - found.size} more entries stand {between} than were signed.",
                self.last.size, self.first_id,
            )  # fmt: skip
        if found.root != self.tree.root():
            raise self._bad(
                "changed", f"An entry {between} was changed, and its hash with it: the signed root differs.",
                self.last.size, self.first_id,
            )  # fmt: skip
        self.last, self.last_id, self.first_id = found, "", None
        self.report.checkpoints += 1

    def _end(self, value: Json) -> None:
        if self.tree.size > self.last.size:
            raise self._bad("inserted", "No checkpoint covers the last entries.", self.last.size, self.first_id)
        told = (value.get("entries"), value.get("checkpoints"))
        if told != (self.report.entries, self.report.checkpoints):
            raise self._bad(
                "truncated", f"The end tells of {told[0]} entries and {told[1]} checkpoints; here are "
                f"{self.report.entries} and {self.report.checkpoints}.", self.tree.size,
            )  # fmt: skip

    def _parsed(self, line: bytes) -> Json:
        found = _json_line(line)
        if found is None:
            raise self._bad("malformed", "This line is not canonical JSON (RFC 8785) of an object.", self.tree.size)
        return found

    def _bad(self, wrong: Wrong, detail: str, index: int | None = None, entry_id: str | None = None) -> _Bad:
        return _Bad(Finding(wrong, detail, self.line, index, entry_id))


def _json_line(line: bytes) -> Json | None:
    """The object in a line that is exactly its canonical text: no name twice, nothing between the signs."""
    if not line.endswith(b"\n") or len(line) > MOST_LINE_BYTES:
        return None
    text = line[:-1]
    try:
        value = orjson.loads(text)
        if type(value) is not dict:
            return None
        if orjson.dumps(value, option=orjson.OPT_SORT_KEYS) != text and canonical(value) != text:
            return None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, NotCanonical):
        return None
    return cast("Json", value)


def _outside(lines: Iterable[bytes], key: VerifierKey) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for number, line in enumerate(lines, 1):
        value = _json_line(line) or {}
        try:
            found.append(read(str(value.get("note")), key))
        except NoteRefused as error:
            raise _Bad(Finding("forged", f"In the checkpoint file: {error.detail}", number)) from None
    return found
