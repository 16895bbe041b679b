"""The host's end of the exec server: many requests at once over one stream. Every frame from inside is untrusted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Protocol

from shopfloor.engine.sandbox.attach import STDOUT
from shopfloor.engine.sandbox.frames import FRAME_MAX, Forged, Unpacker, pack
from shopfloor.engine.workspace import WorkspaceLost

Frame = tuple[dict[str, Any], bytes]

WINDOW: Final = 1 << 20  # the server's: bytes of one answer that may be on their way
FRAME_COST: Final = 256  # the server's: what each frame counts besides its payload, so that tiny ones can't pile up
_OVER: Final = WINDOW + 2 * FRAME_MAX  # more than this untaken in one answer: the server does not keep its own rules
_LAST: Final = {"end", "error", "pong"}  # nothing follows these in an answer
_LAST_WORDS: Final = 4096  # bytes kept of stderr


class Wire(Protocol):
    """What a channel needs of the container's streams."""

    async def read(self) -> tuple[int, bytes] | None:
        """(stream number, bytes), None at the end."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes."""
        ...

    async def drain(self) -> None:
        """Wait for room."""
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...


class Answer:
    """The frames that answer one request, in order. Taking one makes room for the next."""

    def __init__(self, channel: Channel, ident: int) -> None:
        self.ident = ident
        self.untaken = 0  # cost of what lies in `frames`
        self.frames: deque[Frame] = deque()
        self.arrived = asyncio.Event()
        self.ended = False
        self._channel = channel

    async def take(self) -> Frame:
        """The next frame. Raises: WorkspaceLost."""
        while not self.frames:
            self._channel.check()
            self.arrived.clear()
            await self.arrived.wait()
        header, payload = self.frames.popleft()
        cost = len(payload) + FRAME_COST
        self.untaken -= cost
        if header["ev"] in {"out", "data"}:
            self._channel.post({"op": "ack", "id": self.ident, "bytes": cost})
        self.ended = header["ev"] in _LAST
        return header, payload


class Channel:
    """One connection to one exec server. `on_lost` is told once why it can't be trusted or reached any more."""

    def __init__(self, wire: Wire, *, on_lost: Callable[[str], None], silence_s: float = 20.0) -> None:
        self._wire = wire
        self._on_lost = on_lost
        self._silence_s = silence_s
        self._answers: dict[int, Answer] = {}
        self._last_ident = 0
        self._late = 0  # cost of frames that may still come for requests nobody waits for any more
        self._last_words = b""
        self.reason: str | None = None
        self._hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._listen())]

    async def greet(self, limit_s: float) -> dict[str, Any]:
        """What the server says of itself first. Raises: WorkspaceLost."""
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(self._hello)
        except TimeoutError:
            self.lose(f"its exec server did not speak within {limit_s:.0f} s")
            raise self._lost() from None

    def beat(self, every_s: float) -> None:
        """Ask from now on whether the server is there."""
        self._tasks.append(asyncio.create_task(self._beat(every_s)))

    @contextlib.asynccontextmanager
    async def request(self, header: dict[str, Any], payload: bytes = b"") -> AsyncGenerator[Answer, None]:
        """Ask for something; leaving early stops it inside."""
        self.check()
        self._last_ident += 1
        answer = Answer(self, self._last_ident)
        self._answers[answer.ident] = answer
        try:
            await self.send({**header, "id": answer.ident}, payload)
            yield answer
        finally:
            del self._answers[answer.ident]
            if not answer.ended:
                self._late += _OVER
                self.post({"op": "kill", "id": answer.ident})

    async def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Write a frame and wait for room. Raises: WorkspaceLost."""
        self.check()
        self._wire.write(pack(header, payload))
        try:
            async with asyncio.timeout(self._silence_s):
                await self._wire.drain()
        except (TimeoutError, OSError) as error:
            self.lose("its exec server takes no more input")
            raise self._lost() from error

    def post(self, header: dict[str, Any]) -> None:
        """Write a small frame without waiting; nothing if the server is gone."""
        if self.reason is None:
            self._wire.write(pack(header))

    def check(self) -> None:
        """Raises: WorkspaceLost."""
        if self.reason is not None:
            raise self._lost()

    def lose(self, reason: str) -> None:
        """Give it up: everybody who waits learns why, the owner kills the sandbox."""
        if self.reason is not None:
            return
        words = self._last_words.decode("utf-8", "replace").strip()
        self.reason = f"{reason}: {words[-500:]}" if words else reason
        self._wire.close()
        if not self._hello.done():
            self._hello.set_exception(self._lost())
            self._hello.exception()
        for answer in self._answers.values():
            answer.arrived.set()
        self._on_lost(self.reason)

    async def aclose(self) -> None:
        """End the connection on purpose."""
        if self.reason is None:
            self.reason = "it was closed"
            self._wire.close()
        for answer in self._answers.values():
            answer.arrived.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lost(self) -> WorkspaceLost:
        return WorkspaceLost(f"the sandbox is gone: {self.reason}", reason=self.reason)

    async def _listen(self) -> None:
        unpacker = Unpacker()
        try:
            while (piece := await self._wire.read()) is not None:
                if piece[0] != STDOUT:
                    self._last_words = (self._last_words + piece[1])[-_LAST_WORDS:]
                    continue
                for header, payload in unpacker.feed(piece[1]):
                    self._deliver(header, payload)
        except Forged as error:
            self.lose(f"its exec server sent {error}")
        else:
            self.lose("it ended")

    def _deliver(self, header: dict[str, Any], payload: bytes) -> None:
        ident, cost = header["id"], len(payload) + FRAME_COST
        if not self._hello.done():
            if ident != 0 or header["ev"] != "hello":
                raise Forged("something before its greeting")
            self._hello.set_result(header)
            return
        answer = self._answers.get(ident)
        if answer is None or answer.ended:
            self._late -= cost
            if not 0 < ident <= self._last_ident or self._late < 0:
                raise Forged("an answer that nobody asked for")
            return
        answer.untaken += cost
        if answer.untaken > _OVER:
            raise Forged("more than it was asked for")
        answer.frames.append((header, payload))
        answer.arrived.set()

    async def _beat(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                async with asyncio.timeout(self._silence_s), self.request({"op": "ping"}) as answer:
                    await answer.take()
            except TimeoutError:
                self.lose(f"its exec server was silent for {self._silence_s:.0f} s")
                return
            except WorkspaceLost:
                return
