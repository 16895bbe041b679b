"""A unix socket in front of the container engine that a test can shut and open: an engine that stops and comes back."""

import asyncio
from contextlib import suppress
from pathlib import Path


class EngineDoor:
    """`url` is what settings name. While shut nothing is listening, and every connection that was open is cut."""

    def __init__(self, engine_url: str, folder: Path):
        self._engine = engine_url.removeprefix("unix://")
        self._path = folder / "engine.sock"
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self.url = f"unix://{self._path}"

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def shut(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        self._path.unlink(missing_ok=True)
        self._server = None
        for task in list(self._relays):
            with suppress(asyncio.CancelledError):
                await task

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        try:
            there, here = await asyncio.open_unix_connection(self._engine)
            self._open |= {writer, here}
            await asyncio.gather(_relay(reader, here), _relay(there, writer))
            for each in (writer, here):
                each.close()
            self._open -= {writer, here}
        finally:
            self._relays.discard(task)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
