"""What a model sees of a long text: its head, its tail, and how much was left out."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
BINARY_PROBE_BYTES = 8_192  # git looks at the first 8,000 bytes for a NUL


def bounded(text: str, limit: int, *, note: str = "") -> str:
    """`text`, or two thirds of `limit` from its head and a third from its tail, cut at line ends where it can."""
    if len(text) <= limit:
        return text
    head = _up_to_line(text[: limit * 2 // 3])
    tail = _from_line(text[-(limit // 3) :])
    gone = len(text) - len(head) - len(tail)
    return f"{head}\n[... {gone:,} characters left out{'; ' + note if note else ''} ...]\n{tail}"


def clean(data: bytes) -> str:
    """Command output as text: undecodable bytes replaced, colours dropped, a redrawn line only in its last state."""
    text = _ANSI.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")) if "\r" in text else text.split("\n")
    return _CONTROL.sub("", "\n".join(lines))


def is_binary(data: bytes) -> bool:
    """It has a NUL near its start: the rule that Git goes by."""
    return b"\0" in data[:BINARY_PROBE_BYTES]


def _up_to_line(text: str) -> str:
    cut = text.rfind("\n")
    return text[:cut] if cut > len(text) // 2 else text


def _from_line(text: str) -> str:
    cut = text.find("\n")
    return text[cut + 1 :] if 0 <= cut < len(text) // 2 else text
