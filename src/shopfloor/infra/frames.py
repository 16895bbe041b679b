"""Events as they go over the wire: encoded once, shared by everybody who watches."""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

MAX_EVENT_BYTES = 262_144  # a larger one is told by its size; the whole stays where it is stored


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One line of a job's ordered stream. `seq` starts at 1 and has no gaps."""

    seq: int
    kind: str
    data: dict[str, Any]
    at: datetime


class Frame:
    """One event, encoded: `sse` for server-sent events, `text` for a WebSocket. Both hold the same JSON."""

    __slots__ = ("_json", "_text", "is_last", "seq", "sse")

    def __init__(self, event: LiveEvent, *, is_last: bool) -> None:
        self.seq = event.seq
        self.is_last = is_last
        self._json = _encode(event)
        self._text: str | None = None
        kind = event.kind.translate(_ONE_LINE).encode()
        self.sse = b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, kind, self._json)

    @property
    def text(self) -> str:
        """`{"seq", "kind", "data", "at"}`."""
        if self._text is None:
            self._text = self._json.decode()
        return self._text


class Batch:
    """Frames that follow each other, at least one."""

    __slots__ = ("_sse", "first_seq", "frames", "is_last", "last_seq", "size_bytes")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self.first_seq = frames[0].seq
        self.last_seq = frames[-1].seq
        self.is_last = frames[-1].is_last
        self.size_bytes = sum(len(frame.sse) for frame in frames)
        self._sse: bytes | None = frames[0].sse if len(frames) == 1 else None

    @property
    def sse(self) -> bytes:
        """All frames in one piece, joined once."""
        if self._sse is None:
            self._sse = b"".join(frame.sse for frame in self.frames)
        return self._sse

    def after(self, seq: int) -> Batch | None:
        """What of it comes after `seq`; None if nothing does."""
        if seq < self.first_seq:
            return self
        start = bisect.bisect_right(self.frames, seq, key=_seq)
        return Batch(self.frames[start:]) if start < len(self.frames) else None


_ONE_LINE = {ord("\r"): " ", ord("\n"): " ", 0: " "}  # in an event's name they would end the line


def _seq(frame: Frame) -> int:
    return frame.seq


def _encode(event: LiveEvent) -> bytes:
    """One line of JSON: no raw line break can stand in it."""
    message = {"seq": event.seq, "kind": event.kind, "data": event.data, "at": event.at}
    try:
        encoded = orjson.dumps(message, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:  # a lone surrogate or an integer over 64 bits: escaped instead
        encoded = json.dumps(message | {"at": event.at.isoformat()}, default=str, ensure_ascii=True).encode()
    if len(encoded) <= MAX_EVENT_BYTES:
        return encoded
    return orjson.dumps(message | {"data": {"too_large": True, "size_bytes": len(encoded)}}, option=orjson.OPT_UTC_Z)
