"""What may reach a terminal: text from agents, tools and servers is shown, never obeyed."""

from __future__ import annotations

import re
import sys
from typing import Final, TextIO

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor. Source: ECMA-48, 5.4
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC: titles, clipboard, links
    r"|\x1b[ -/]*[0-~]"
)
# Every other control character but tab and newline; the bidirectional ones reorder what is read (CVE-2021-42574).
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    r"""`text` without escape sequences; other control characters as `\x07`. Lines and tabs stay."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    text = _CONTROLS.sub(_spelled, text)
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str, most: int = 200) -> str:
    """The same on one line of at most `most` characters."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person reads it."""
    return (stream or sys.stdout).isatty()


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - the last that two digits write
