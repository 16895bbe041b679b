"""The frames between host and exec server, and the distrust of what comes back."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Final, cast

FRAME_MAX: Final = (1 << 20) + (1 << 16)  # header and payload of one frame from inside
HEADER_MAX: Final = 1 << 16
PAYLOAD_MAX: Final = 900_000  # of one frame to the inside: with its header it stays below the server's 1 MiB
_MEASURES: Final = struct.Struct(">II")


class Forged(Exception):
    """What came out of the sandbox is no frame of ours: it is no longer to be talked to."""


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """A frame: size of header and payload, size of the header, JSON, bytes."""
    head = json.dumps(header).encode()
    return _MEASURES.pack(len(head) + len(payload), len(head)) + head + payload


class Unpacker:
    """Bytes in, frames out. Raises: Forged."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The frames that are complete now."""
        self._held += data
        at = 0
        while len(self._held) - at >= _MEASURES.size:
            size, head = _MEASURES.unpack_from(self._held, at)
            if size > FRAME_MAX or head > min(size, HEADER_MAX):
                raise Forged(f"a frame of {size} bytes with a header of {head}")
            start = at + _MEASURES.size
            if len(self._held) - start < size:
                break
            header = _parse(self._held[start : start + head])
            yield header, bytes(self._held[start + head : start + size])
            at = start + size
        del self._held[:at]


def _parse(text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Forged("a header that is not JSON") from error
    match header:
        case {"id": int(), "ev": str()}:
            return cast("dict[str, Any]", header)
        case _:
            raise Forged("a header without id or event")
