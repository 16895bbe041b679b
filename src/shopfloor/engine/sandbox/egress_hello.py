"""What a TLS client says first, read strictly enough that the other side can't read something else in it.

Source: RFC 8446 sections 4.1.2 and 5.1 (ClientHello, records), RFC 6066 section 3 (server_name), RFC 9849
(encrypted ClientHello).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

RECORD_HEAD: Final = 5
RECORD_MAX: Final = 1 << 14
UNRECOGNIZED_NAME: Final = bytes.fromhex("15030300020270")  # fatal alert 112 in a record of its own

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ENCRYPTED_HELLO: Final = {0xFE0D, 0xFE0A, 0xFE09, 0xFE08, 0xFFCE}  # RFC 9849, its drafts, encrypted_server_name
_HOST_NAME: Final = 0
_SESSION_ID_MAX: Final = 32
_NAME: Final = re.compile(rb"[A-Za-z0-9._-]{1,253}")


class NotAClientHello(Exception):
    """These bytes do not begin a TLS connection as RFC 8446 writes it; the text says where."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What decides about a connection."""

    server_name: str | None  # in lower case
    encrypted: bool  # it hides a second ClientHello, with a name that nobody can read here


def missing_bytes(start: bytes) -> int:
    """How many bytes of the first record are still to come. Raises: NotAClientHello at the first wrong byte."""
    if start[:1] not in {b"", b"\x16"} or start[1:2] not in {b"", b"\x03"}:
        raise NotAClientHello("it is not a TLS handshake record")
    if len(start) < RECORD_HEAD:
        return RECORD_HEAD - len(start)
    size = int.from_bytes(start[3:5], "big")
    if not 0 < size <= RECORD_MAX:
        raise NotAClientHello(f"a record of {size} bytes")
    return max(0, RECORD_HEAD + size - len(start))


def parse_client_hello(record: bytes) -> ClientHello:
    """The ClientHello in one whole record; one that is spread over several is refused. Raises: NotAClientHello."""
    if missing_bytes(record):
        raise NotAClientHello("the record is not whole")
    message = _Reader(record[RECORD_HEAD : RECORD_HEAD + int.from_bytes(record[3:5], "big")])
    if message.number(1) != _CLIENT_HELLO:
        raise NotAClientHello("it is not a ClientHello")
    body = _Reader(message.vector(3))
    message.end()
    body.take(2 + 32)  # legacy_version, random
    if len(body.vector(1)) > _SESSION_ID_MAX:
        raise NotAClientHello("a session id that is too long")
    suites, compressions = body.vector(2), body.vector(1)
    if not suites or len(suites) % 2 or not compressions:
        raise NotAClientHello("no list of cipher suites")
    extensions = _extensions(_Reader(body.vector(2))) if body.left else {}
    body.end()
    name = _server_name(_Reader(extensions[_SERVER_NAME])) if _SERVER_NAME in extensions else None
    return ClientHello(name, encrypted=not _ENCRYPTED_HELLO.isdisjoint(extensions))


def _extensions(reader: _Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while reader.left:
        kind = reader.number(2)
        if kind in found:  # which of the two would the other side read?
            raise NotAClientHello("an extension that comes twice")
        found[kind] = reader.vector(2)
    return found


def _server_name(reader: _Reader) -> str:
    names = _Reader(reader.vector(2))
    reader.end()
    kind, name = names.number(1), names.vector(2)
    names.end()
    if kind != _HOST_NAME or not _NAME.fullmatch(name):
        raise NotAClientHello("a server name that is no host name")
    return name.decode("ascii").lower()


class _Reader:
    """Takes numbers and vectors from bytes, never past their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise NotAClientHello("a length that points past the end")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> bytes:
        """Bytes behind a length of so many bytes."""
        return self.take(self.number(length_size))

    def end(self) -> None:
        if self.left:
            raise NotAClientHello("bytes after its end")
