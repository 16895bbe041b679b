"""The lines of an export and of a checkpoint file: each the canonical text of one object. Pure."""

from __future__ import annotations

from typing import Any, Final

from shopfloor.domain.audit.canonical import canonical
from shopfloor.domain.audit.note import VerifierKey

FORMAT: Final = "shopfloor-audit-1"
RESTORED: Final = "audit.restored"  # the action by which a roll-back is told from a restore


def header_line(key: VerifierKey) -> bytes:
    """The first line. The key in it is for people: whoever verifies has it from elsewhere."""
    return canonical({"kind": "header", "format": FORMAT, "origin": key.name, "key": str(key)}) + b"\n"


def entry_line(index: int, entry: Any, origin: Any, leaf_hash: bytes) -> bytes:
    """One entry; `origin` null: erased, or nothing was known."""
    line = {"kind": "entry", "index": index, "entry": entry, "origin": origin, "hash": leaf_hash.hex()}
    return canonical(line) + b"\n"


def end_line(entries: int, checkpoints: int) -> bytes:
    """The last line: a file that was cut has none."""
    return canonical({"kind": "end", "entries": entries, "checkpoints": checkpoints}) + b"\n"


def checkpoint_line(note: str) -> bytes:
    """As it stands in the file, and in an export."""
    return canonical({"kind": "checkpoint", "note": note}) + b"\n"
