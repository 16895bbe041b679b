"""Where a sandbox may go: the allow-list, and what a request to the proxy asks for. Every byte of it is untrusted."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from shopfloor.base.errors import InvalidInput

TLS_PORT: Final = 443
HTTP_PORT: Final = 80
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label that inet_aton would read as part of an address
_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253}))(?::([0-9]{1,5}))?")
_ABSOLUTE: Final = re.compile(r"http://([^/?#]*)(/[^#]*|\?[^#]*|)", re.IGNORECASE)


class PlaceMalformed(InvalidInput):
    """An entry of the allow-list can't be read; the detail holds the entry."""

    title: ClassVar[str] = "This is not a place a sandbox may be let to"


class RequestRefused(Exception):
    """The proxy says no. `status` is HTTP's answer, `reason` a stable word for events, `detail` for people."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """A host and port as a client spelled them, in lower case; an IPv6 address without brackets."""

    host: str
    port: int

    @property
    def is_address(self) -> bool:
        """Named by number: no name service is asked, and TLS carries no server name for it (RFC 6066, section 3)."""
        return _address(self.host) is not None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class AllowList:
    """`host`, `host:port` (without one: 443), `*.host` for what is below it. Addresses only one by one, as numbers."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises: PlaceMalformed."""
        self._exact: set[Target] = set()
        self._below: set[Target] = set()
        for entry in entries:
            wild = entry.startswith("*.")
            place = _entry(entry.removeprefix("*."), entry)
            if wild and place.is_address:
                raise PlaceMalformed(f"{entry!r} puts a wildcard before an address: list the addresses themselves")
            (self._below if wild else self._exact).add(place)

    def __contains__(self, target: Target) -> bool:
        if target in self._exact:
            return True
        labels = target.host.split(".")
        return not target.is_address and any(
            Target(".".join(labels[start:]), target.port) in self._below for start in range(1, len(labels))
        )

    def check(self, target: Target) -> None:
        """Raises: RequestRefused."""
        if target not in self:
            raise RequestRefused(
                403, "not-allowed", f"{target} is not on the list of places this sandbox may reach. A project's network"
                " setting lists them: add the host there (host:port if the port is not 443) and run the job again.",
            )  # fmt: skip


def connect_target(text: bytes) -> Target:
    """What `CONNECT text` asks for: always with its port (RFC 9112, section 3.2.3). Raises: RequestRefused."""
    return _authority(text, default_port=None)


def absolute_target(text: bytes) -> tuple[Target, bytes]:
    """Host and port of an `http://` request, and the path with its query for the other side. Raises: RequestRefused."""
    found = _ABSOLUTE.fullmatch(text.decode("latin-1"))
    if found is None:
        raise RequestRefused(
            400, "malformed", "This proxy takes CONNECT host:port, or a whole http:// address in the request line."
        )
    path = found[2] if found[2].startswith("/") else f"/{found[2]}"
    return _authority(found[1].encode("latin-1"), default_port=HTTP_PORT), path.encode("latin-1")


def _entry(text: str, entry: str) -> Target:
    try:
        return _authority(text.encode("ascii"), default_port=TLS_PORT)
    except (RequestRefused, UnicodeEncodeError) as error:
        raise PlaceMalformed(
            f"{entry!r} is not a place: write host, host:port or *.host, an international name in its xn-- form",
            entry=entry,
        ) from error


def _authority(text: bytes, *, default_port: int | None) -> Target:
    found = _AUTHORITY.fullmatch(text.decode("latin-1").lower())
    if found is None:
        raise _malformed()
    port = int(found[3]) if found[3] else default_port
    if port is None or not 0 < port <= 65_535:  # noqa: PLR2004 - the highest port
        raise _malformed()
    host = _bracketed(found[1]) if found[1] else found[2]
    if _address(host) is None and (not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2])):
        raise _malformed()
    return Target(host, port)


def _bracketed(text: str) -> str:
    address = _address(text)
    if not isinstance(address, ipaddress.IPv6Address):
        raise _malformed()
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _malformed() -> RequestRefused:
    return RequestRefused(
        400, "malformed", "The host is not spelled as a plain host name with its port: no user name, no final dot, no"
        " other script (use the xn-- form), no number in an unusual base.",
    )  # fmt: skip
