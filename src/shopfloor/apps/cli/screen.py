"""Paints a story: coloured lines and one that ticks on a terminal, plain lines into anything else."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final, TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from shopfloor.apps.cli.story import Line, Story, Tone
from shopfloor.apps.cli.terminal import is_terminal, printable

_STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "dim": "dim",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "head": "cyan",
    "said": "bold",
}


class Screen:
    """Where a job is told. Lines go to `stream`; on a terminal its last line ticks."""

    def __init__(self, stream: TextIO | None = None, *, verbose: bool = False) -> None:
        self.stream = stream or sys.stdout
        self.story = Story(verbose=verbose)
        self._console = Console(file=self.stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._live: Live | None = None
        self._spinner = Spinner("dots", text="")
        self._since_s = time.monotonic()

    @contextmanager
    def telling(self) -> Generator[Screen]:
        """The ticking line is there while the block runs."""
        if not is_terminal(self.stream):
            yield self
            return
        with Live(get_renderable=self._ticking, console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def event(self, event: dict[str, Any]) -> None:
        """Tell one event."""
        self.show(self.story.lines(event))

    def show(self, lines: Iterable[Line]) -> None:
        """Paint lines."""
        for line in lines:
            self._console.print(Text(line.text, _STYLES[line.tone]), soft_wrap=True)

    def say(self, text: str, tone: Tone = "plain") -> None:
        """One line."""
        self.show([Line(printable(text), tone)])

    def diff(self, patch: str) -> None:
        """A patch, coloured on a terminal."""
        self.show(Line("  " + line, _diff_tone(line)) for line in printable(patch).rstrip("\n").split("\n"))

    def _ticking(self) -> Spinner:
        self._spinner.update(text=Text(f"{time.monotonic() - self._since_s:5.1f} s · {self.story.tally.as_text()}"))
        return self._spinner


def _diff_tone(line: str) -> Tone:
    if line.startswith(("+++", "---", "diff ", "index ")):
        return "dim"
    return {"+": "good", "-": "bad", "@": "head"}.get(line[:1], "plain")  # type: ignore[return-value] - literals of Tone
