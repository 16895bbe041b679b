"""Whose request it is: the address a trusted proxy tells, else the peer's own. Nobody else is believed.

Source: RFC 7239 for `Forwarded`; `X-Forwarded-For` as every proxy writes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MOST_CHARS = 2_048  # of all headers together
_MOST_HOPS = 32
_IPV6_PREFIX = 64  # what one customer is given. Source: RFC 6177, section 2
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_NAME})=({_NAME}|"(?:[^"\\]|\\.)*")[ \t]*(;|,|$)')


def client_address(
    peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str], trusted: Sequence[Network]
) -> str:
    """The address that a request comes from. `forwarded_for` and `forwarded` are the values of those headers, in order.

    Read from the right: the first hop that is no trusted proxy is the client, and what stands left of it is its own
    invention. Both headers at once, or one that can't be read, are not believed: a proxy sets one of them and hands on
    what a client forged in the other.
    """
    address = parsed(peer)
    if address is None:
        return peer
    if not trusted or not _among(address, trusted) or bool(forwarded_for) is bool(forwarded):
        return str(address)
    hops = _hops(forwarded) if forwarded else ",".join(forwarded_for).split(",")
    if len(hops) > _MOST_HOPS or sum(map(len, hops)) > _MOST_CHARS:
        return str(address)
    nearest: Address = address
    for hop in reversed(hops):
        found = parsed(_without_port(hop.strip()))
        if found is None:
            return str(address)
        nearest = found
        if not _among(found, trusted):
            break
    return str(nearest)


@lru_cache(maxsize=4_096)
def parsed(text: str) -> Address | None:
    """The address written in `text`; one of IPv4 mapped into IPv6 is that of IPv4. None: it is none."""
    if "%" in text:  # a zone means something on one machine only
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def one_customer(text: str) -> str:
    """What is counted together: an address of IPv4, a /64 of IPv6."""
    address = parsed(text)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return text if address is None else str(address)


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """`192.0.2.1:4711`, `[2001:db8::1]:4711` and `[2001:db8::1]` without what isn't the address."""
    if hop.startswith("["):
        address, bracket, port = hop[1:].partition("]")
        return address if ":" in address and bracket and (not port or _is_port(port)) else ""
    address, colon, port = hop.partition(":")
    return address if colon and _is_port(f":{port}") else hop


def _is_port(text: str) -> bool:
    return text[0] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= len(":65535")


def _hops(forwarded: Sequence[str]) -> list[str]:
    """The `for` of each element, in order; one that can't be read, or has none, is an empty text."""
    text = ",".join(forwarded)
    if len(text) > _MOST_CHARS:
        return [""]
    hops, hop, place = list[str](), "", 0
    while place < len(text):
        pair = _PAIR.match(text, place)
        if pair is None:
            return [*hops, ""]
        name, value, end = pair.groups()
        if name.lower() == "for":
            hop = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if end != ";":
            hops.append(hop)
            hop = ""
        place = pair.end()
    return hops
