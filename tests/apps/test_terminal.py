"""Text from agents and servers is shown, never obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.apps.cli.terminal import one_line, printable


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]52;c;cm0gLXJm\x1b\\text", "text"),
        ("\x1b]8;;https://evil.example\x07link\x1b]8;;\x07", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("bell\x07", "bell\\x07"),
        ("over\rwritten", "over\\x0dwritten"),
        ("windows\r\nlines\n\ttab", "windows\nlines\n\ttab"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31mC1", "\\x9b31mC1"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("שלום, 你好, emoji 🎉", "שלום, 你好, emoji 🎉"),
    ],
)
def test_sequences_are_dropped_and_other_controls_spelled(sent: str, shown: str):
    assert printable(sent) == shown


@given(st.text(alphabet=st.characters(), max_size=200))
def test_nothing_that_moves_a_cursor_or_reorders_text_gets_through(text: str):
    left = set(printable(text)) & {chr(code) for code in [*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066]}
    assert left == set()


def test_one_line_is_one_line():
    assert one_line("a\n b\t c", 80) == "a b c"
    assert one_line("x" * 10, 5) == "xxxx…"
