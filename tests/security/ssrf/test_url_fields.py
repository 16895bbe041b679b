"""Server-side request forgery: every field that takes a URL or a host, with every way to write an address inside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx2
import pytest
import pytest_asyncio

from security.api.routes import OPERATIONS, Operation, put, text_places
from security.api.tenants import Shop, open_shop
from shopfloor.base.ids import new_id
from shopfloor.infra.outbound import HostUnknown, OutboundRules, UrlRefused, check_url, outbound_client, parse_url

# Plain http too, so that an address is refused for where it leads.
STRICT = OutboundRules(frozenset({"https", "http"}))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shop_url: str) -> AsyncIterator[Shop]:
    """As it is installed: private addresses are allowed nowhere. Its tenants got their providers before."""
    async with open_shop(shop_url) as made:
        let_in(made, STRICT)
        yield made


def let_in(shop: Shop, rules: OutboundRules) -> None:
    """What the application lets the providers of its tenants lead to, of models and of identities."""
    object.__setattr__(shop.parts.providers, "rules", rules)
    shop.parts.identity.client.rules = rules


async def path_of(shop: Shop, asked: Operation) -> str:
    """At an example that was made while private addresses were allowed: the double of a provider has one."""
    let_in(shop, OutboundRules(frozenset({"https", "http"}), allow_private=True))
    path = await shop.acme.path_of(asked.path)
    let_in(shop, STRICT)
    return path


# The addresses that an attacker wants: this machine, the networks behind it, the clouds' metadata.
INSIDE = {
    "loopback": "127.0.0.1",
    "all of loopback": "127.127.127.127",
    "any address": "0.0.0.0",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 192": "192.168.0.1",
    "shared (CGNAT)": "100.64.0.1",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata of containers": "169.254.170.2",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Azure": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "benchmark": "198.18.0.1",
    "decimal": "2130706433",
    "decimal metadata": "2852039166",
    "octal": "0177.0.0.1",
    "long octal": "0000177.0.0.1",
    "hexadecimal": "0x7f000001",
    "hexadecimal parts": "0x7f.0x0.0x0.0x1",
    "mixed parts": "0x7f.0.1",
    "short": "127.1",
    "shorter": "127.0.1",
    "zero": "0",
    "too many parts": "127.0.0.1.1",
    "a leading zero": "127.0.0.01",
    "over 255": "127.0.0.257",
    "a dot at its end": "127.0.0.1.",
    "IPv6 loopback": "[::1]",
    "IPv6 loopback in full": "[0:0:0:0:0:0:0:1]",
    "IPv6 any": "[::]",
    "IPv6 mapped": "[::ffff:127.0.0.1]",
    "IPv6 mapped in hex": "[::ffff:7f00:1]",
    "IPv6 mapped metadata": "[::ffff:a9fe:a9fe]",
    "IPv6 compatible": "[::127.0.0.1]",
    "IPv6 translated": "[::ffff:0:127.0.0.1]",
    "NAT64": "[64:ff9b::7f00:1]",
    "NAT64 metadata": "[64:ff9b::169.254.169.254]",
    "local NAT64": "[64:ff9b:1::7f00:1]",
    "6to4": "[2002:7f00:1::]",
    "6to4 metadata": "[2002:a9fe:a9fe::1]",
    "Teredo": "[2001:0:7f00:1::]",
    "ISATAP": "[fe80::5efe:127.0.0.1]",
    "IPv6 link-local": "[fe80::1]",
    "IPv6 with a zone": "[fe80::1%25eth0]",
    "IPv6 unique local": "[fd00::1]",
    "IPv6 metadata of EC2": "[fd00:ec2::254]",
    "IPv6 metadata of Google": "[fd20:ce::254]",
    "IPv6 site-local": "[fec0::1]",
    "IPv6 multicast": "[ff02::1]",
    "IPv6 documentation": "[2001:db8::1]",
    "IPv6 segment routing": "[5f00::1]",
    "localhost": "localhost",
    "localhost with a dot": "localhost.",
    "localhost in capitals": "LOCALHOST",
    "digits of another script": "１２７.０.０.１",
    "circled digits": "①②⑦.⓪.⓪.①",
    "an ideographic full stop": "127。0。0。1",
    "a full-width full stop": "127．0．0．1",
    "another script": "lоcalhost",
    "a soft hyphen": "local\u00adhost",
    "a zero-width space": "local\u200bhost",
    "percent-encoded": "%6c%6f%63%61%6c%68%6f%73%74",
    "percent-encoded dots": "127%2e0%2e0%2e1",
    "percent-encoded NUL": "127.0.0.1%00.example.org",
    "a user name": "example.org@127.0.0.1",
    "a user name and password": "example.org:443@127.0.0.1",
    "an encoded at sign": "example.org%40127.0.0.1",
    "a back slash": "example.org\\@127.0.0.1",
    "a fragment": "127.0.0.1#example.org",
    "a fragment in front": "example.invalid#@127.0.0.1",
    "a question mark": "127.0.0.1?.example.org",
    "two at signs": "a@b@127.0.0.1",
    "a tab": "127.0.\t0.1",
    "a new line": "127.0.0.1\r\nHost: example.org",
    "a space": "127.0.0.1 .example.org",
    "port 0": "127.0.0.1:0",
    "an empty port": "127.0.0.1:",
    "a port too high": "127.0.0.1:65537",
    "a port with a sign": "127.0.0.1:+80",
    "no host": "",
    "brackets around IPv4": "[127.0.0.1]",
    "brackets cut off": "[::1",
    "an IPvFuture": "[v1.127]",
    "a label too long": "a" * 64 + ".example.org",
    "a name too long": "a." * 130 + "org",
}  # fmt: skip
SCHEMES = [
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_INFO", "dict://127.0.0.1:11211/stat", "ftp://127.0.0.1/",
    "ldap://127.0.0.1/", "jar:http://127.0.0.1!/", "netdoc:///etc/passwd", "data:text/plain,x", "javascript:alert(1)",
    "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/info", "//127.0.0.1/", "127.0.0.1/path",
    "https:127.0.0.1", "https:/127.0.0.1/", "https:///127.0.0.1/", "http://", "ssh://127.0.0.1/x", "git://127.0.0.1/x",
    "ext::sh -c id", "phar://x", "expect://id", "tftp://127.0.0.1/x", "smb://127.0.0.1/x", "\\\\127.0.0.1\\x", " ",
]  # fmt: skip

# How a valid body around the URL looks where the document's example isn't one, and what turns it into the control.
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/providers": {"kind": "openai", "api_key": "sk-FAKE"},
    "PATCH /api/v1/providers/{provider_id}": {"api_key": "sk-FAKE"},
    "POST /api/v1/jobs": {"task": "x", "model": "mock/small"},
}
_URL = re.compile(r"(^|_)(url|uri|host|endpoint|issuer|webhook|callback)s?$")
FIELDS = [
    (asked, place)
    for asked in OPERATIONS
    if asked.body is not None
    for place, _ in text_places(asked.body)
    if any(_URL.search(step) for step in place)
]
# Names of hosts for later checks, not addresses that are called.
ONLY_NAMES = {
    "repository_hosts": "a list that bounds repositories: each URL is still checked",
    "host": "of a secret: which Git server may be given it; nothing is called by it",
}


def body(asked: Operation, place: tuple[str, ...], url: str) -> Any:
    base = dict(BODIES.get(str(asked), asked.body_example() or {}))
    if str(asked) == "POST /api/v1/providers":
        base["name"] = f"p-{new_id().hex[-12:]}"
    return put(base, place, url)


CALLED = [(asked, place) for asked, place in FIELDS if not set(place) & set(ONLY_NAMES)]


@pytest.mark.parametrize(("asked", "place"), CALLED, ids=str)
async def test_a_url_that_leads_inside_is_refused(
    shop: Shop, asked: Operation, place: tuple[str, ...], record_property: Any
):
    path = await path_of(shop, asked)
    before = shop.rows_of(shop.acme)
    tried = [f"https://{host}/x/y.git" for host in INSIDE.values()] + SCHEMES
    for url in tried:
        answer = await shop.request(shop.acme, asked, path, json=body(asked, place, url))
        if answer.is_success and asked.path in LOOKED_UP_LATER:
            pytest.fail(f"{url} was taken") if _spelling_is_odd(url) else None
            continue  # a name or a plain address: it is looked up, and refused, at each use
        assert answer.status_code in {400, 422, 503}, (url, answer.text)
    if asked.path not in LOOKED_UP_LATER:
        assert shop.rows_of(shop.acme) == before
    record_property("cases", len(tried))


# Nothing is looked up when it is handed in; git's check is tried below, that of deliveries in domain/notifications.
LOOKED_UP_LATER = {"/api/v1/jobs", "/api/v1/notifications/channels"}


def _spelling_is_odd(url: str) -> bool:
    try:
        parse_url(url, OutboundRules())
    except UrlRefused:
        return True
    return False


@pytest.mark.parametrize(("asked", "place"), CALLED, ids=str)
async def test_an_address_of_the_internet_is_taken(shop: Shop, asked: Operation, place: tuple[str, ...]):
    """The positive control of the test above: the same request with a public address."""
    path = await path_of(shop, asked)
    answer = await shop.request(shop.acme, asked, path, json=body(asked, place, "https://93.184.215.14/x/y.git"))
    assert answer.is_success, answer.text


async def test_every_field_that_may_be_called_is_known():
    """The walk over the document finds them; a new one is tried by the tests above without anybody adding it."""
    found = {(str(asked), place[-1]) for asked, place in FIELDS}
    assert {("POST /api/v1/providers", "base_url"), ("PATCH /api/v1/providers/{provider_id}", "base_url"),
            ("POST /api/v1/jobs", "url")} <= found  # fmt: skip


@pytest.mark.parametrize("what", INSIDE)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_client_that_calls_urls_of_users_refuses_it_too(what: str, scheme: str):
    """Whatever was let in when it was stored: the check is made again at each connect, with the real resolver."""
    rules = OutboundRules(frozenset({"http", "https"}))
    with pytest.raises((UrlRefused, HostUnknown, httpx2.InvalidURL)):
        async with outbound_client(rules) as client:
            await client.get(f"{scheme}://{INSIDE[what]}/")


@pytest.mark.parametrize("address", [host for host in INSIDE.values() if re.fullmatch(r"[\d.]+|\[[\w:.]+\]", host)])
async def test_a_name_that_leads_there_is_refused(address: str):
    """Also together with a good address, and whatever the order."""
    plain = address.strip("[]")
    for answers in ([plain], ["93.184.215.14", plain], [plain, "93.184.215.14"]):
        with pytest.raises(UrlRefused):
            await check_url("https://evil.example/", OutboundRules(), resolver=_answering([answers]))
    await check_url("https://good.example/", OutboundRules(), resolver=_answering([["93.184.215.14"]]))  # the control


def _answering(turns: list[list[str]]) -> Any:
    """A name service that gives one answer after another, the last one for ever."""

    async def resolver(host: str, port: int) -> list[str]:
        del host, port
        return turns.pop(0) if len(turns) > 1 else turns[0]

    return resolver


SECRET = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"


class Inside:
    """A server of the inside that counts who comes."""

    def __init__(
        self, reply: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"
    ) -> None:
        self.reply, self.visits = reply, 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.reply)
        await writer.drain()
        writer.close()


LOOPBACK = OutboundRules(frozenset({"http"}), allow_private=True)


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_name_that_turns_inside_between_two_answers_reaches_nothing(turns: int):
    """DNS rebinding: the checked address is dialled, and the look-up at connect is the one that is checked."""
    flipping = _answering([["93.184.215.14"]] * (turns - 1) + [["127.0.0.1"]])
    async with Inside() as inside:
        for _ in range(turns - 1):
            await check_url(f"http://rebind.example:{inside.port}/", STRICT, resolver=flipping)
        async with outbound_client(STRICT, resolver=flipping) as client:
            with pytest.raises(UrlRefused):
                await client.get(f"http://rebind.example:{inside.port}/")
        assert inside.visits == 0
        async with outbound_client(LOOPBACK, resolver=flipping) as client:  # the control: it could be reached
            assert (await client.get(f"http://rebind.example:{inside.port}/")).text == "secret"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "file:///etc/passwd", "/again"])
async def test_a_redirect_to_the_inside_is_not_followed(status: int, to: str):
    async with Inside() as inside:
        location = to.format(port=inside.port)
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        async with Inside(moved.encode()) as door, outbound_client(LOOPBACK) as client:
            answer = await client.get(f"http://127.0.0.1:{door.port}/")
            assert answer.status_code == status
            assert door.visits == 1
        assert inside.visits == 0


async def test_a_provider_that_redirects_inside_learns_nothing(shop: Shop):
    """Over the API: the test of a provider whose server answers with a redirect to the inside."""
    let_in(shop, LOOPBACK)
    async with Inside() as inside:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with Inside(moved) as door:
            new = {"name": f"p-{new_id().hex[-12:]}", "kind": "openai-compatible", "api_key": "sk-FAKE",
                   "base_url": f"http://127.0.0.1:{door.port}/v1"}  # fmt: skip
            made = await shop.acme.client.post("/api/v1/providers", json=new)
            tried = await shop.acme.client.post(f"/api/v1/providers/{made.json()['id']}/test", json={})
            assert (tried.status_code, tried.json()["ok"]) == (200, False), tried.text
            assert door.visits >= 1  # the control: the provider was called
        assert inside.visits == 0
        assert "secret" not in tried.text
