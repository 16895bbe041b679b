import asyncio
import gzip
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.infra.outbound import (
    CheckedUrl,
    HostUnknown,
    HostUnresolved,
    OutboundLimits,
    OutboundRules,
    ResponseTooLarge,
    ResponseTooSlow,
    UrlRefused,
    check_url,
    outbound_client,
    parse_url,
    refuse_address,
    resolve,
)

PUBLIC = OutboundRules(schemes=frozenset({"http", "https"}))
PRIVATE = OutboundRules(schemes=frozenset({"http", "https"}), allow_private=True)


def answers(*addresses: str):
    async def resolver(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolver


class Server:
    """An HTTP server on loopback that answers every request with `reply` and keeps what it was asked."""

    def __init__(self, reply: bytes, *, then_wait: bool = False, tls: ssl.SSLContext | None = None):
        self.tls = tls
        self.reply = reply
        self.then_wait = then_wait
        self.requests: list[bytes] = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self._server.close()

    async def _answer(self, reader, writer):
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.reply)
        await writer.drain()
        if self.then_wait:
            await reader.read()
        writer.close()


def response(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/",
        "example.org",
        "",
        "https://",
        "https:///path",
        "https://user@example.org/",
        "https://user:pw@example.org/",
        "https://@example.org/",
        "https://example.org:/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org:8x/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: evil",
        "https://example.org\\@evil.example/",
        "https://exámple.org/",
        "https://example.org./",
        "https://-example.org/",
        "https://exam%70le.org/",
        "https://[::1/",
        "https://[example.org]/",
        "https://[fe80::1%25eth0]/",
        "https://" + "a" * 3000 + ".org/",
        "https://\u212ay.example/",
    ],
)
def test_a_url_with_odd_spelling_is_refused(url):
    with pytest.raises(UrlRefused):
        parse_url(url, PUBLIC)


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.1",
        "1.2.3.4.5",
        "0x",
        "a.0x1",
    ],
)
def test_an_odd_spelling_of_an_address_is_refused_even_where_private_ones_are_allowed(host):
    with pytest.raises(UrlRefused):
        parse_url(f"http://{host}/", PRIVATE)


PRIVATE_ADDRESSES = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd00::1",
]
MAPPED_PRIVATE = ["::ffff:127.0.0.1", "::ffff:10.0.0.1"]
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "100::1",
    "not an address",
]


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES + MAPPED_PRIVATE)
def test_a_private_address_needs_the_setting(address):
    with pytest.raises(UrlRefused, match="private"):
        refuse_address(address, PUBLIC)
    refuse_address(address, PRIVATE)


@pytest.mark.parametrize("address", NEVER)
def test_a_special_address_is_refused_whatever_the_setting(address):
    for rules in (PUBLIC, PRIVATE):
        with pytest.raises(UrlRefused):
            refuse_address(address, rules)


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_may_be_reached(address):
    refuse_address(address, PUBLIC)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_looser_here_than_in_the_standard_library(address):
    if address.is_global and not address.is_multicast:
        return
    with pytest.raises(UrlRefused):
        refuse_address(str(address), PUBLIC)


async def test_every_address_of_a_host_is_checked():
    with pytest.raises(UrlRefused, match=r"10\.0\.0\.1"):
        await check_url("https://example.org/", PUBLIC, resolver=answers("93.184.215.14", "10.0.0.1"))
    checked = await check_url("https://Example.org/a", PUBLIC, resolver=answers("93.184.215.14", "93.184.215.14"))
    assert checked == CheckedUrl("https://Example.org/a", "https", "example.org", 443, ("93.184.215.14",))


async def test_a_host_without_an_address_is_unknown():
    with pytest.raises(HostUnknown, match=r"example\.org"):
        await check_url("https://example.org/", PUBLIC, resolver=answers())
    with pytest.raises(HostUnknown):
        await resolve("no-such-host.invalid", 443)


async def test_a_silent_name_service_is_told_apart():
    with pytest.raises(HostUnresolved):
        await resolve("no-such-host.invalid", 443, timeout_s=0)


def test_only_listed_hosts_are_allowed_when_there_is_a_list():
    rules = OutboundRules(hosts=("example.org", "*.example.com:8443"))
    for url in ["https://example.org/", "https://EXAMPLE.org:99/", "https://a.b.example.com:8443/"]:
        parse_url(url, rules)
    for url in [
        "https://example.com:8443/",
        "https://a.example.com/",
        "https://notexample.org/",
        "https://example.org.evil.example/",
    ]:
        with pytest.raises(UrlRefused, match=r"Allowed: example\.org"):
            parse_url(url, rules)


async def test_the_client_keeps_the_name_while_it_dials_the_checked_address():
    async with Server(response(b"hello")) as server, outbound_client(PRIVATE, resolver=answers("127.0.0.1")) as client:
        reply = await client.get(f"http://internal.example:{server.port}/x")
    assert reply.text == "hello"
    assert f"Host: internal.example:{server.port}".encode() in server.requests[0]


async def test_the_client_tries_the_next_checked_address():
    dead = answers("127.0.0.2", "127.0.0.1")
    async with Server(response(b"hello")) as server, outbound_client(PRIVATE, resolver=dead) as client:
        assert (await client.get(f"http://internal.example:{server.port}/")).text == "hello"


async def test_the_client_refuses_a_private_address():
    async with Server(response(b"secret")) as server:
        url = f"http://internal.example:{server.port}/"
        async with outbound_client(PUBLIC, resolver=answers("127.0.0.1")) as client:
            with pytest.raises(UrlRefused):
                await client.get(url)
        assert server.requests == []
        async with outbound_client(PRIVATE, resolver=answers("127.0.0.1")) as client:
            assert (await client.get(url)).text == "secret"  # the control: the same server answers when allowed


async def test_a_name_that_answers_differently_the_second_time_gains_nothing():
    first_public_then_private = iter([["93.184.215.14"], ["127.0.0.1"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(first_public_then_private)

    async with Server(response(b"secret")) as server:
        url = f"http://rebind.example:{server.port}/"
        await check_url(url, PUBLIC, resolver=rebinding)  # what a form that checks at submit time would see
        async with outbound_client(PUBLIC, resolver=rebinding) as client:
            with pytest.raises(UrlRefused):
                await client.get(url)
        assert server.requests == []


async def test_a_redirect_is_handed_back_not_followed():
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with Server(moved) as server, outbound_client(PRIVATE) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/")).status_code == 302
        with pytest.raises(UrlRefused, match=r"169\.254"):  # nor when a caller asks for it
            await client.get(f"http://127.0.0.1:{server.port}/", follow_redirects=True)


@pytest.mark.parametrize("framing", ["Content-Length: 2000000", "X-None: 1"])
async def test_a_response_over_the_limit_is_cut_off(framing):
    reply = f"HTTP/1.1 200 OK\r\n{framing}\r\nConnection: close\r\n\r\n".encode() + b"x" * 2_000_000
    limits = OutboundLimits(max_response_bytes=1_000_000)
    async with Server(reply) as server, outbound_client(PRIVATE, limits=limits) as client:
        with pytest.raises(ResponseTooLarge):
            await client.get(f"http://127.0.0.1:{server.port}/")


async def test_a_compressed_response_is_neither_asked_for_nor_taken():
    bomb = gzip.compress(b"\0" * 1_000_000)
    async with Server(response(bomb, "Content-Encoding: gzip")) as server, outbound_client(PRIVATE) as client:
        with pytest.raises(UrlRefused, match="compressed"):
            await client.get(f"http://127.0.0.1:{server.port}/")
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_response_that_never_ends_is_given_up(begun):
    limits = OutboundLimits(total_s=0.2)
    async with Server(begun, then_wait=True) as server, outbound_client(PRIVATE, limits=limits) as client:
        with pytest.raises(ResponseTooSlow):
            await client.get(f"http://127.0.0.1:{server.port}/")


async def test_proxies_and_keys_of_the_environment_are_ignored(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with Server(response(b"direct")) as server, outbound_client(PRIVATE) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "direct"


async def test_the_certificate_has_to_be_the_names_not_the_addresses(tmp_path):
    certificate, key = self_signed("internal.example", tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with (
        Server(response(b"hello"), tls=serving) as server,
        outbound_client(PRIVATE, resolver=answers("127.0.0.1"), verify=trusting) as client,
    ):
        assert (await client.get(f"https://internal.example:{server.port}/")).text == "hello"
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await client.get(f"https://other.example:{server.port}/")


def self_signed(name: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"
