"""The host believes nothing that comes out of a sandbox: forged frames, floods, silence."""

# ruff: noqa: ASYNC110 - the loss is told by a plain callback

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shopfloor.engine.sandbox.channel import Channel
from shopfloor.engine.sandbox.frames import FRAME_MAX, pack
from shopfloor.engine.sandbox.served import ServedWorkspace
from shopfloor.engine.sandbox.transcript import Transcript
from shopfloor.engine.workspace import PathRefused, WorkspaceLost

HELLO = pack({"id": 0, "ev": "hello"})


class FakeWire:
    """Both ends in memory: a test plays the exec server."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.on_sent: Callable[[dict[str, Any]], None] = lambda _: None
        self.closed = False

    async def read(self) -> tuple[int, bytes] | None:
        return await self.incoming.get()

    def write(self, data: bytes) -> None:
        _, size = struct.unpack_from(">II", data)
        self.sent.append(json.loads(data[8 : 8 + size]))
        self.on_sent(self.sent[-1])

    async def drain(self) -> None:
        return

    def close(self) -> None:
        self.closed = True

    def say(self, data: bytes, stream: int = 1) -> None:
        self.incoming.put_nowait((stream, data))


@asynccontextmanager
async def channel_over(wire: FakeWire, silence_s: float = 5.0) -> AsyncIterator[tuple[Channel, list[str]]]:
    lost: list[str] = []
    channel = Channel(wire, on_lost=lost.append, silence_s=silence_s)
    try:
        yield channel, lost
    finally:
        await channel.aclose()


FORGERIES = {
    "a size beyond the bound": struct.pack(">II", FRAME_MAX + 1, 10),
    "a header longer than its frame": struct.pack(">II", 10, 11) + b"x" * 11,
    "4 GiB": struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF),
    "no JSON": struct.pack(">II", 4, 4) + b"nope",
    "bytes": b"\xff" * 64,
    "an array": pack([1]),  # type: ignore[arg-type]
    "no id": pack({"ev": "end"}),
    "an id that is text": pack({"id": "1", "ev": "end"}),
    "no event": pack({"id": 1}),
    "an id nobody used": pack({"id": 999, "ev": "end"}),
    "a negative id": pack({"id": -1, "ev": "end"}),
    "deep JSON": struct.pack(">II", 60_000, 60_000) + b"[" * 60_000,
    "the greeting again": HELLO,
    "a flood": b"".join(pack({"id": 1, "ev": "out"}, b"x" * 65_536) for _ in range(60)),
    "a flood of tiny frames": pack({"id": 1, "ev": "out"}) * 20_000,
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_frame_ends_the_sandbox(forgery: bytes):
    wire = FakeWire()
    async with channel_over(wire) as (channel, lost):
        wire.say(HELLO)
        await channel.greet(1)

        async def ask() -> None:
            async with channel.request({"op": "run"}) as answer:
                await asyncio.sleep(0)
                wire.say(forgery)
                while channel.reason is None:
                    await asyncio.sleep(0)
                while True:
                    await answer.take()

        with pytest.raises(WorkspaceLost):
            await asyncio.wait_for(ask(), 10)
        assert len(lost) == 1
        assert "sent" in lost[0]
        assert wire.closed


async def test_the_same_exchange_without_forgery_works():
    """The control of the test above."""
    wire = FakeWire()
    async with channel_over(wire) as (channel, lost):
        wire.say(HELLO)
        await channel.greet(1)
        async with channel.request({"op": "run"}) as answer:
            wire.say(
                pack({"id": answer.ident, "ev": "out"}, b"hi") + pack({"id": answer.ident, "ev": "end", "exit": 0})
            )
            assert (await answer.take())[1] == b"hi"
            assert (await answer.take())[0]["exit"] == 0
        assert lost == []


async def test_frames_may_come_in_pieces_of_any_size():
    wire = FakeWire()
    async with channel_over(wire) as (channel, _):
        for number in range(len(HELLO)):
            wire.say(HELLO[number : number + 1])
        assert (await channel.greet(1))["ev"] == "hello"


async def test_something_before_the_greeting_ends_it():
    wire = FakeWire()
    async with channel_over(wire) as (channel, lost):
        wire.say(pack({"id": 1, "ev": "end"}))
        with pytest.raises(WorkspaceLost, match="before its greeting"):
            await channel.greet(1)
        assert len(lost) == 1


async def test_a_server_that_never_speaks_is_given_up():
    async with channel_over(FakeWire()) as (channel, lost):
        with pytest.raises(WorkspaceLost, match="did not speak"):
            await channel.greet(0.05)
        assert len(lost) == 1


async def test_a_server_that_falls_silent_is_found_from_outside():
    wire = FakeWire()
    async with channel_over(wire, silence_s=0.1) as (channel, lost):
        wire.say(HELLO)
        await channel.greet(1)
        channel.beat(0.01)
        while not lost:
            await asyncio.sleep(0.01)
        assert "silent" in lost[0]


async def test_a_server_that_answers_is_left_alone():
    """The control of the test above."""
    wire = FakeWire()
    pongs = 0

    def answer(header: dict[str, Any]) -> None:
        nonlocal pongs
        pongs += 1
        wire.say(pack({"id": header["id"], "ev": "pong"}))

    wire.on_sent = answer
    async with channel_over(wire, silence_s=0.5) as (channel, lost):
        wire.say(HELLO)
        await channel.greet(1)
        channel.beat(0.005)
        while pongs < 20:
            await asyncio.sleep(0.005)
        assert lost == []


async def test_its_last_words_are_told():
    wire = FakeWire()
    async with channel_over(wire) as (channel, lost):
        wire.say(b"Traceback: no module named json", stream=2)
        wire.incoming.put_nowait(None)
        with pytest.raises(WorkspaceLost, match="no module named json"):
            await channel.greet(1)
        assert len(lost) == 1


async def test_late_frames_of_a_request_given_up_are_ignored_within_bounds():
    wire = FakeWire()
    async with channel_over(wire) as (channel, lost):
        wire.say(HELLO)
        await channel.greet(1)
        async with channel.request({"op": "get"}) as answer:
            ident = answer.ident
        wire.say(pack({"id": ident, "ev": "data"}, b"x" * 65_536))
        wire.say(pack({"id": ident, "ev": "end"}))
        async with channel.request({"op": "ping"}) as answer:
            wire.say(pack({"id": answer.ident, "ev": "pong"}))
            await answer.take()
        assert lost == []
        wire.say(b"".join(pack({"id": ident, "ev": "data"}, b"x" * 65_536) for _ in range(80)))
        while not lost:
            await asyncio.sleep(0)


async def test_a_forged_ending_can_not_break_the_host():
    endings: list[dict[str, Any]] = [{"exit": "0"}, {"signal": []}, {"seconds": None}, {"timed_out": "x"}, {}]
    wire = FakeWire()
    async with channel_over(wire) as (channel, _):
        wire.say(HELLO)
        await channel.greet(1)
        workspace = ServedWorkspace(channel, {})
        for ending in endings:
            wire.on_sent = lambda header, more=ending: (
                wire.say(pack({**more, "id": header["id"], "ev": "end"})) if header["op"] == "run" else None
            )
            result = await workspace.run("true", timeout_s=1)
            assert result.exit_code is None
        wire.on_sent = lambda header: wire.say(
            pack({"id": header["id"], "ev": "data"}, b'[[1,2,3],["a","device",1],["b","file",-1],["ok","file",2],7]')
            + pack({"id": header["id"], "ev": "end"})
        )
        assert [entry.path for entry in (await workspace.list_files()).entries if entry.size_bytes >= 0] == ["ok"]


async def test_a_path_outside_is_refused_before_it_is_sent():
    wire = FakeWire()
    async with channel_over(wire) as (channel, _):
        wire.say(HELLO)
        await channel.greet(1)
        with pytest.raises(PathRefused):
            await ServedWorkspace(channel, {}).read_file("/etc/shadow")
        assert wire.sent == []


@pytest.mark.parametrize("limit", [0, 1, 2, 9, 10, 11, 1000])
def test_a_transcript_keeps_its_head_and_its_tail(limit: int):
    transcript = Transcript(limit)
    data = bytes(range(65, 75))
    for byte in data:
        transcript.add(bytes([byte]))
    result = transcript.result(exit_code=0, signal=None, timed_out=False, duration_s=0)
    kept = min(limit, len(data))
    assert len(result.output) == kept
    assert result.elided_bytes == len(data) - kept
    assert result.output.startswith(data[: result.head_bytes])
    assert result.output.endswith(
        data[len(data) - (kept - limit // 2) :] if kept < len(data) and limit else result.output
    )
