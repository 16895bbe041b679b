"""The guard for every URL that a user gives: its spelling, the addresses behind it, and a client that keeps to both."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, cast
from urllib.parse import urlsplit

import httpcore2
import httpx2

from shopfloor.base.errors import InvalidInput, TooLarge, Unavailable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]  # (host, port) -> every address of it, as text

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARS = 2048
_URL_TEXT = re.compile(
    r"[!#-;=?-\[\]_a-z~]*"
)  # RFC 3986: no space, control, quote, backslash, <>^`{|}, no other script
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that inet_aton would read as part of an address

# Refused always. Source: IANA special-purpose address registries (RFC 6890 and successors), the clouds' own manuals.
_NEVER = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local; the metadata service of most clouds
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's host service, on a public address
        "100.100.100.200/32",  # Alibaba's metadata service
        "fd00:ec2::/32",  # the metadata service of EC2 on IPv6
        "fd20:ce::254/128",  # the metadata service of Google on IPv6
        "2001::/23",  # IETF protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",
    )
]
# Refused unless the installation allows private addresses.
_PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")  # all that is assigned; 64:ff9b::/96 (NAT64), ff00::/8 ... lie outside


class UrlRefused(InvalidInput):
    """The URL, or an address behind its host, may not be reached from here."""

    title: ClassVar[str] = "This URL may not be used"


class HostUnknown(InvalidInput):
    """The name has no address."""

    title: ClassVar[str] = "This host is not known"


class HostUnresolved(Unavailable):
    """The name service did not answer; trying again may help."""

    title: ClassVar[str] = "The name service did not answer"


class ResponseTooLarge(TooLarge):
    """The other side sent more than the limit; nothing of it is kept."""

    title: ClassVar[str] = "The response is too large"


class ResponseTooSlow(Unavailable):
    """The whole exchange passed its time limit."""

    title: ClassVar[str] = "The response took too long"


@dataclass(frozen=True, slots=True)
class OutboundRules:
    """What an installation lets its users reach."""

    schemes: frozenset[str] = frozenset({"https"})
    hosts: tuple[str, ...] = ()  # `example.org`, `*.example.org`, either with `:port`. Empty: every public host
    allow_private: bool = False  # loopback, RFC 1918, unique local and shared (CGNAT) addresses


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """Bounds of one exchange."""

    connect_s: float = 10.0
    read_s: float = 60.0  # between two pieces of a response
    total_s: float = 600.0  # from the request to the last byte
    max_response_bytes: int = 32 * 1_048_576


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """A URL that keeps to the rules so far; its addresses are not known yet."""

    url: str
    scheme: str
    host: str  # lower case; an IPv6 address without brackets
    port: int


@dataclass(frozen=True, slots=True)
class CheckedUrl(ParsedUrl):
    """A URL with every address of its host checked. Connect to these, not to the name."""

    addresses: tuple[str, ...] = field(default=())


async def check_url(url: str, rules: OutboundRules, *, resolver: Resolver | None = None) -> CheckedUrl:
    """Parse, resolve once, check every address. Raises: UrlRefused, HostUnknown, HostUnresolved."""
    parsed = parse_url(url, rules)
    addresses = await checked_addresses(parsed.host, parsed.port, rules, resolver=resolver)
    return CheckedUrl(parsed.url, parsed.scheme, parsed.host, parsed.port, addresses)


def parse_url(url: str, rules: OutboundRules) -> ParsedUrl:
    """What the URL names, if its spelling, scheme, host, port and literal address are allowed. Raises: UrlRefused."""
    if len(url) > MAX_URL_CHARS:
        raise UrlRefused(f"The URL is longer than {MAX_URL_CHARS} characters.")
    if not _URL_TEXT.fullmatch(url):
        raise UrlRefused(
            "The URL holds a character that has to be written otherwise: percent-encode spaces and other scripts in "
            "its path, and write an international host name in its xn-- form."
        )
    scheme, host, port = _split(url)
    if scheme not in rules.schemes:
        allowed = " or ".join(f"{name}://" for name in sorted(rules.schemes))
        raise UrlRefused(
            f"Only {allowed} URLs may be used here, and this is {scheme}://. A server on this machine or a private "
            "network is allowed by who runs Shopfloor: docs/reference/settings.md, `ALLOW_PRIVATE`.",
            allowed=sorted(rules.schemes),
        )
    _refuse_host_spelling(host)
    if _as_address(host) is not None:
        refuse_address(host, rules)  # nothing has to be looked up: said at once, where the URL is given
    if rules.hosts and not any(_matches(rule, host, port) for rule in rules.hosts):
        raise UrlRefused(
            f"The host {host!r} is not allowed here. Allowed: {', '.join(rules.hosts)}. An administrator can add it.",
            host=host,
        )
    return ParsedUrl(url, scheme, host, port)


def refuse_address(address: str, rules: OutboundRules) -> None:
    """Raises: UrlRefused if a connection to this address may not be made."""
    kind = _forbidden_kind(address, rules)
    if kind is None:
        return
    hint = " An administrator may allow private addresses in the settings." if kind == "private" else ""
    raise UrlRefused(f"The host leads to {address}, a {kind} address, which may not be reached.{hint}", address=address)


async def checked_addresses(
    host: str, port: int, rules: OutboundRules, *, resolver: Resolver | None = None
) -> tuple[str, ...]:
    """Every address of `host`, each allowed; one that is not refuses them all. Raises: UrlRefused, HostUnknown."""
    found = [host] if _as_address(host) else await (resolver or resolve)(host, port)
    addresses = tuple(dict.fromkeys(found))
    if not addresses:
        raise HostUnknown(f"The host {host!r} has no address. Check its spelling.", host=host)
    for address in addresses:
        refuse_address(address, rules)
    return addresses


async def resolve(host: str, port: int, *, timeout_s: float = 10.0) -> list[str]:
    """The addresses that the machine's own resolver gives. Raises: HostUnknown, HostUnresolved."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise HostUnresolved(f"The name service gave no answer for {host!r} in {timeout_s:g} s.", host=host) from error
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
            raise HostUnknown(f"The host {host!r} is not known. Check its spelling.", host=host) from error
        raise HostUnresolved(f"The name service failed for {host!r}: {error.strerror}.", host=host) from error
    return [str(answer[4][0]) for answer in answers]


def outbound_client(
    rules: OutboundRules,
    *,
    limits: OutboundLimits | None = None,
    resolver: Resolver | None = None,
    verify: ssl.SSLContext | bool = True,
) -> httpx2.AsyncClient:
    """A client that reaches only what `rules` allow, checked at each connect. No redirects, no environment proxy.

    Its requests raise UrlRefused, HostUnknown, ResponseTooLarge, ResponseTooSlow besides httpx2's own errors.
    """
    limits = limits or OutboundLimits()
    return httpx2.AsyncClient(
        transport=GuardedTransport(rules, limits, resolver=resolver, verify=verify),
        timeout=httpx2.Timeout(limits.read_s, connect=limits.connect_s),
        follow_redirects=False,
        trust_env=False,
    )


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Checks each request's URL, connects to checked addresses only, bounds what comes back in bytes and time.

    Name, certificate and `Host` stay those of the URL: only the address of the socket is chosen here. Compressed
    responses are not asked for and not taken: a small one may unpack to any size.
    """

    def __init__(
        self,
        rules: OutboundRules,
        limits: OutboundLimits,
        *,
        resolver: Resolver | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        context = httpx2.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False)
        self._rules = rules
        self._limits = limits
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_CheckedNetwork(rules, resolver),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.AsyncBaseTransport."""
        parse_url(str(request.url), self._rules)
        request.headers["accept-encoding"] = "identity"
        deadline = asyncio.get_running_loop().time() + self._limits.total_s
        try:
            async with asyncio.timeout_at(deadline):
                response = await super().handle_async_request(request)
        except TimeoutError as error:
            raise _too_slow(self._limits) from error
        body = _BoundedBody(response, self._limits, deadline)
        try:
            _refuse_response(response, self._limits)
        except (ResponseTooLarge, UrlRefused):
            await body.aclose()
            raise
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Resolves, checks, then dials the checked addresses in order: there is no second look-up to answer differently."""

    def __init__(self, rules: OutboundRules, resolver: Resolver | None) -> None:
        self._rules = rules
        self._resolver = resolver
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())  # its stub has no base

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await checked_addresses(host, port, self._rules, resolver=self._resolver)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _BoundedBody(httpx2.AsyncByteStream):
    """A response body that stops with an error at its size or time limit."""

    def __init__(self, response: httpx2.Response, limits: OutboundLimits, deadline: float) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream = response.stream
        self._limits = limits
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        parts = aiter(self._stream)
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    part = await anext(parts, None)
            except TimeoutError as error:
                raise _too_slow(self._limits) from error
            if part is None:
                return
            received += len(part)
            if received > self._limits.max_response_bytes:
                raise _too_large(self._limits)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _split(url: str) -> tuple[str, str, int]:
    """`(scheme, host, port)`. Raises: UrlRefused."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        raise UrlRefused(f"The URL can't be read: {error}.") from error
    if "@" in parts.netloc:
        raise UrlRefused("The URL holds a user name or password. Store credentials as a secret and name that instead.")
    if parts.netloc.endswith(":") or port == 0:
        raise UrlRefused("The URL names no valid port.")
    if "[" in parts.netloc and not isinstance(_as_address(host), ipaddress.IPv6Address):
        raise UrlRefused("Brackets in a URL are for IPv6 addresses.")
    return parts.scheme, host, port or DEFAULT_PORTS.get(parts.scheme, 0)


def _refuse_host_spelling(host: str) -> None:
    if _as_address(host) is not None:
        return
    if not _HOST_NAME.fullmatch(host):
        raise UrlRefused(f"{host!r} is not the name of a host." if host else "The URL names no host.")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise UrlRefused(f"{host!r} is an unusual way to write an address. Write it as four decimal numbers.")


def _matches(rule: str, host: str, port: int) -> bool:
    name, colon, wanted_port = rule.lower().rpartition(":") if re.search(r":\d+\Z", rule) else (rule.lower(), "", "")
    if colon and int(wanted_port) != port:
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name.strip("[]")


def _as_address(text: str) -> IPAddress | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)  # a zone names an interface of this machine
    except ValueError:
        return None


def _forbidden_kind(text: str, rules: OutboundRules) -> str | None:
    """`private`, `special`, or None for an address that may be reached."""
    address = _as_address(text)
    if address is None:
        return "malformed"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in _NEVER):
        return "special"
    if any(address in network for network in _PRIVATE):
        return None if rules.allow_private else "private"
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_IPV6:
        return "special"
    return None


def _refuse_response(response: httpx2.Response, limits: OutboundLimits) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UrlRefused("The other side sent a compressed response although none was asked for.")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_response_bytes:
        raise _too_large(limits)


def _too_large(limits: OutboundLimits) -> ResponseTooLarge:
    return ResponseTooLarge(
        f"The response is larger than {limits.max_response_bytes} bytes.", limit_bytes=limits.max_response_bytes
    )


def _too_slow(limits: OutboundLimits) -> ResponseTooSlow:
    return ResponseTooSlow(f"The response was not complete after {limits.total_s:g} s.", limit_s=limits.total_s)
