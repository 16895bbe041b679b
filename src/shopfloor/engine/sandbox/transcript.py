"""The bounded output of a command: its head and its tail."""

from __future__ import annotations

from shopfloor.engine.workspace import CommandResult


class Transcript:
    """Keeps at most `limit` bytes of what is added: the first half as it came, then the end."""

    def __init__(self, limit: int) -> None:
        self._head_limit = max(limit, 0) // 2
        self._tail_limit = max(limit, 0) - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """The next piece."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._tail_limit + 65_536:
            self._trim()

    def result(self, *, exit_code: int | None, signal: int | None, timed_out: bool, duration_s: float) -> CommandResult:
        """The command's end with what was kept."""
        self._trim()
        kept = len(self._head) + len(self._tail)
        elided = self.total - kept
        return CommandResult(
            exit_code=exit_code,
            output=bytes(self._head + self._tail),
            elided_bytes=elided,
            total_bytes=self.total,
            timed_out=timed_out,
            duration_s=duration_s,
            signal=signal,
            head_bytes=len(self._head) if elided else 0,
        )

    def _trim(self) -> None:
        if len(self._tail) > self._tail_limit:
            del self._tail[: len(self._tail) - self._tail_limit]
