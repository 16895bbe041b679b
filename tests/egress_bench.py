"""What tests of the way out share: servers that remember, a resolver that is watched, a door, and a hostile client."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shopfloor.engine.sandbox.egress import EgressProxies
from shopfloor.engine.sandbox.egress_limits import EgressLimits
from shopfloor.engine.sandbox.port import Egress, NetworkEvent

ALLOWED = "allowed.example"
OTHER = "other.example"
LOOPBACK = "127.0.0.1"
QUICK = EgressLimits(head_s=0.3, connect_s=2.0, idle_s=0.5, half_open_s=0.3, connection_s=20.0)


class WatchedResolver:
    """Answers from a table, and remembers every name it was asked for: nothing else can leave as a query."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.asked: list[str] = []
        self.answers = answers  # name with _ for . -> one list for each time it is asked, the last one for ever

    async def __call__(self, host: str, port: int) -> list[str]:  # noqa: ARG002 - see Resolver
        self.asked.append(host)
        rows = self.answers.get(host.replace(".", "_"), [[LOOPBACK]])
        return rows.pop(0) if len(rows) > 1 else rows[0]


@dataclass
class Recorder:
    """A server on the loopback. `heads` are the requests it read, `names` the server names TLS clients sent."""

    port: int = 0
    connections: int = 0
    received: bytes = b""
    heads: list[bytes] = field(default_factory=list[bytes])
    names: list[str | None] = field(default_factory=list[str | None])
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    hold: bool = False  # read on after the answer instead of closing


@asynccontextmanager
async def server(tls: ssl.SSLContext | None = None, **changes: Any) -> AsyncIterator[Recorder]:
    """It answers each connection's first request, then reads what still comes until its end."""
    recorder = Recorder(**changes)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recorder.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                recorder.heads.append(head)
                recorder.received += head
                writer.write(recorder.answer)
                await writer.drain()
                if recorder.hold:
                    while data := await reader.read(65_536):
                        recorder.received += data
        finally:
            writer.close()

    if tls is not None:
        tls.sni_callback = lambda _sock, name, _context: recorder.names.append(name)
    listening = await asyncio.start_server(serve, LOOPBACK, 0, ssl=tls)
    recorder.port = listening.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        listening.close()


@dataclass
class Door:
    """An open way out and what it told."""

    proxies: EgressProxies
    folder: Path
    events: list[NetworkEvent]
    resolver: WatchedResolver

    @property
    def socket(self) -> str:
        return str(self.folder / "proxy.sock")

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if event.kind == "network.refused"]

    @property
    def reached(self) -> list[str]:
        return [event.place for event in self.events if event.kind == "network.allowed"]

    async def ask(self, data: bytes, *, limit_s: float = 5.0) -> bytes:
        """Send it, and read to the end."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            async with asyncio.timeout(limit_s):
                with suppress(OSError):
                    writer.write(data)
                    await writer.drain()
                return await _all(reader)
        finally:
            writer.close()

    async def tunnel(self, target: str, hello: bytes) -> tuple[bytes, bytes]:
        """CONNECT, then `hello` once it is open: (the proxy's answer, all that came back through the tunnel)."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            async with asyncio.timeout(5):
                writer.write(connect(target))
                answer = await _all_of_head(reader)
                if b" 200 " not in answer:
                    return answer, b""
                writer.write(hello)
                return answer, await _all(reader)
        finally:
            writer.close()


async def _all_of_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _all(reader: asyncio.StreamReader) -> bytes:
    found = b""
    with suppress(OSError):
        while data := await reader.read(65_536):
            found += data
    return found


@asynccontextmanager
async def door(
    *allow: str, private: bool = True, limits: EgressLimits = QUICK, resolver: WatchedResolver | None = None
) -> AsyncIterator[Door]:
    root = Path(tempfile.mkdtemp(prefix="sf-egress-"))
    watched = resolver or WatchedResolver()
    proxies = EgressProxies(root / "doors", allow_private=private, limits=limits, resolver=watched)
    events: list[NetworkEvent] = []
    try:
        folder, _ = await proxies.open("box", Egress(allow, report=events.append))
        yield Door(proxies, folder, events, watched)
    finally:
        await proxies.aclose()
        shutil.rmtree(root)


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("latin-1")


def client_hello(name: str | None, **settings: Any) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for key, value in settings.items():
        setattr(context, key, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def with_extension(hello: bytes, kind: int, data: bytes) -> bytes:
    """The same with one more extension, every length around it right."""
    start = extensions_at(hello)
    extensions = hello[start + 2 :] + kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
    return rebuilt(hello, start, extensions)


def extensions_at(hello: bytes) -> int:
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    return at + 1 + hello[at]


def rebuilt(hello: bytes, start: int, extensions: bytes) -> bytes:
    body = hello[9:start] + len(extensions).to_bytes(2, "big") + extensions
    return record(b"\x01" + len(body).to_bytes(3, "big") + body)


def record(message: bytes) -> bytes:
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


async def through_tls(socket_path: str, target: str, name: str, request: bytes) -> bytes:
    """A whole HTTPS request by way of CONNECT, the certificate checked."""
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        async with asyncio.timeout(10):
            writer.write(connect(target))
            answer = await _all_of_head(reader)
            assert b" 200 " in answer, answer
            await writer.start_tls(ssl.create_default_context(cadata=authority().pem), server_hostname=name)
            writer.write(request)
            return await _all(reader)
    finally:
        writer.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test, and a server's context for the names it vouches for."""

    pem: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def context(self, *names: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(names[0], key, self.certificate.subject, self.key, list(names))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.NamedTemporaryFile("wb") as file:
            file.write(made.public_bytes(serialization.Encoding.PEM))
            plain = serialization.NoEncryption()
            file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
            file.flush()
            context.load_cert_chain(file.name)
        return context


@cache
def authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    certificate = _certificate("test authority", key, subject, key, None)
    return Authority(certificate.public_bytes(serialization.Encoding.PEM).decode(), key, certificate)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    names: list[str] | None,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names is not None:
        listed = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(listed, critical=False)
    return builder.sign(signer, hashes.SHA256())
