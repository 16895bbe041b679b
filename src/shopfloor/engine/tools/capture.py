"""A command's output on its way: kept whole in an artifact once it is long, told to watchers at a bounded rate."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from shopfloor.engine.tools.bounds import bounded, clean
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.workspace import CommandResult

NOTE_EVERY_S = 0.25
NOTE_CHARS = 4_096  # of one note; what doesn't fit is counted, not sent
NOTES_PER_CALL = 400
QUEUE_CHUNKS = 64  # waiting for the artifact store; beyond it the command waits


@dataclass
class Capture:
    """Takes every chunk of one command's output; `finish` gives what the model sees of it."""

    context: ToolContext
    name: str  # of the artifact
    _held: list[bytes] = field(default_factory=list[bytes])
    _held_bytes: int = 0
    _queue: asyncio.Queue[bytes | None] | None = None
    _saving: asyncio.Task[str] | None = None
    _saved_bytes: int = 0
    _unsent: deque[bytes] = field(default_factory=deque[bytes])
    _unsent_bytes: int = 0
    _skipped_bytes: int = 0
    _notes: int = 0
    _last_note_s: float = float("-inf")

    async def take(self, chunk: bytes) -> None:
        """One chunk, in order."""
        await self._keep(chunk)
        await self._tell(chunk)

    async def finish(self, result: CommandResult) -> tuple[str, str | None]:
        """The bounded text of `result` and the artifact that holds all of it, if it was cut."""
        await self._send_note()
        artifact = await self._close()
        note = f"all of it is artifact {artifact}" if artifact else "the rest was not kept"
        head = result.head_bytes if result.elided_bytes else len(result.output)
        text = clean(result.output[:head])
        if result.elided_bytes:
            gap = f"\n[... {result.elided_bytes:,} bytes left out ...]\n"
            text = text + gap + clean(result.output[head:])
        return bounded(text, self.context.policy.max_output_chars, note=note), artifact

    async def abandon(self) -> None:
        """The command did not come to an end: nothing is kept."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)

    async def _keep(self, chunk: bytes) -> None:
        room = self.context.policy.max_artifact_bytes - self._saved_bytes
        kept = chunk[:room]
        self._saved_bytes += len(kept)
        if self._queue is not None:
            await self._put(kept)
            return
        self._held.append(kept)
        self._held_bytes += len(kept)
        if self._held_bytes > self.context.policy.max_output_chars:
            self._queue = asyncio.Queue(QUEUE_CHUNKS)
            self._saving = asyncio.create_task(self.context.artifacts.save(self.name, _chunks(self._queue)))
            held, self._held = self._held, []
            await self._put(b"".join(held))

    async def _put(self, chunk: bytes) -> None:
        """Hand a chunk to the artifact store, or drop it if that has failed: `finish` raises its error."""
        if self._queue is None or self._saving is None or self._saving.done() or not chunk:
            return
        putting = asyncio.create_task(self._queue.put(chunk))
        await asyncio.wait({putting, self._saving}, return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()

    async def _close(self) -> str | None:
        if self._queue is None or self._saving is None:
            return None
        if not self._saving.done():
            await self._queue.put(None)
        return await self._saving or None

    async def _tell(self, chunk: bytes) -> None:
        self._unsent.append(chunk)
        self._unsent_bytes += len(chunk)
        while self._unsent_bytes - len(self._unsent[0]) >= NOTE_CHARS:  # the newest is what people want to see
            dropped = len(self._unsent.popleft())
            self._unsent_bytes -= dropped
            self._skipped_bytes += dropped
        now = asyncio.get_running_loop().time()
        if now - self._last_note_s >= NOTE_EVERY_S:
            self._last_note_s = now
            await self._send_note()

    async def _send_note(self) -> None:
        if not self._unsent or self._notes >= NOTES_PER_CALL:
            return
        data = b"".join(self._unsent)
        skipped = self._skipped_bytes + max(0, len(data) - NOTE_CHARS)
        self._unsent, self._unsent_bytes, self._skipped_bytes = deque(), 0, 0
        self._notes += 1
        text = clean(data[-NOTE_CHARS:])
        await self.context.note(
            "tool.output", {"call_id": self.context.call_id, "text": text, "skipped_bytes": skipped}
        )


async def _chunks(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (chunk := await queue.get()) is not None:
        yield chunk
