"""The parser of ClientHello: right on real ones, bounded on all others, and never of another mind than OpenSSL."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from egress_bench import ALLOWED, authority, client_hello, extensions_at, rebuilt, record, with_extension
from shopfloor.engine.sandbox.egress_hello import (
    RECORD_MAX,
    ClientHello,
    NotAClientHello,
    missing_bytes,
    parse_client_hello,
)

HELLO = client_hello(ALLOWED)
NAME_AT = HELLO.index(ALLOWED.encode())
SERVER = authority().context(ALLOWED)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_is_read(version: ssl.TLSVersion):
    hello = client_hello("Sub.Allowed.Example", maximum_version=version)
    assert missing_bytes(hello) == 0
    assert parse_client_hello(hello) == ClientHello("sub.allowed.example", encrypted=False)


@pytest.mark.parametrize("name", [None, "192.0.2.7"])
def test_a_hello_without_a_name_has_none(name: str | None):
    assert parse_client_hello(client_hello(name)).server_name is None


def test_an_encrypted_hello_is_seen():
    assert parse_client_hello(with_extension(HELLO, 0xFE0D, b"\x00" * 40)).encrypted


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x",
        b"\x80\x2e\x01\x03\x01",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
    ],
)
def test_what_is_not_tls_is_refused_at_its_first_bytes(data: bytes):
    with pytest.raises(NotAClientHello):
        missing_bytes(data)


@pytest.mark.parametrize(
    ("what", "record"),
    [
        ("an extension that comes twice", lambda: with_extension(HELLO, 0, server_names(b"other.example"))),
        ("bytes after its end", lambda: record(HELLO[5:] + b"\x0b")),
        ("a server name that is no host name", lambda: named(server_names(b"allowed.example\x00.evil"))),
        ("a server name that is no host name", lambda: named(server_names(b"allowed.example", kind=1))),
        ("bytes after its end", lambda: named(server_names(b"allowed.example", b"other.example"))),
        ("not a ClientHello", lambda: record(b"\x02" + HELLO[6:])),
        ("points past the end", lambda: record(HELLO[5:-1])),
        ("not whole", lambda: HELLO[:-1]),
    ],
)
def test_a_hello_that_could_be_read_in_two_ways_is_refused(what: str, record):
    with pytest.raises(NotAClientHello, match=what):
        parse_client_hello(record())


@given(st.binary(max_size=600))
@example(b"")
def test_no_bytes_do_harm(data: bytes):
    try:
        missing = missing_bytes(data)
        assert 0 <= missing <= RECORD_MAX + 5
        hello = parse_client_hello(data)
    except NotAClientHello:
        return
    assert hello.server_name is None or hello.server_name.isascii()


@given(st.integers(0, len(HELLO)))
def test_a_beginning_asks_for_exactly_what_is_missing(size: int):
    missing = missing_bytes(HELLO[:size])
    assert missing == (max(0, 5 - size) if size < 5 else len(HELLO) - size)


changes = st.lists(st.tuples(st.integers(5, len(HELLO) - 1), st.binary(min_size=1, max_size=3)), min_size=1, max_size=4)


@settings(max_examples=1000, deadline=None)
@given(changes)
@example([(NAME_AT, b"e")])
@example([(NAME_AT + 7, b"\x00")])
@example([(NAME_AT, b"A")])
def test_openssl_never_reads_another_name_than_we_do(edits: list[tuple[int, bytes]]):
    changed = bytearray(HELLO)
    for at, data in edits:
        changed[at : at + len(data)] = data
    del changed[len(HELLO) :]
    try:
        ours = parse_client_hello(bytes(changed)).server_name
    except NotAClientHello:
        return
    read = names_that_openssl_reads(bytes(changed))
    assert [name.lower() if name else name for name in read] in ([], [ours])


def test_openssl_does_read_the_name_of_the_hello_that_is_changed_above():
    assert names_that_openssl_reads(HELLO) == [ALLOWED]


def names_that_openssl_reads(data: bytes) -> list[str | None]:
    """By its callback: empty when it refuses the hello before that."""
    read: list[str | None] = []
    SERVER.sni_callback = lambda _sock, name, _context: read.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(data)
    with contextlib.suppress(ssl.SSLError, UnicodeError):
        SERVER.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    return read


def named(extension: bytes) -> bytes:
    """The same with this as its only extension: server_name."""
    return rebuilt(HELLO, extensions_at(HELLO), b"\x00\x00" + len(extension).to_bytes(2, "big") + extension)


def server_names(*names: bytes, kind: int = 0) -> bytes:
    rows = b"".join(bytes([kind]) + len(name).to_bytes(2, "big") + name for name in names)
    return len(rows).to_bytes(2, "big") + rows
