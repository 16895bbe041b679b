"""Where a change came from: the request's id, address and program, for the record of who did what."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@dataclass(frozen=True, slots=True)
class Origin:
    """Empty texts where nothing is known: a worker's own doing, the command line on this machine."""

    request_id: str = ""
    address: str = ""  # of the client, as the edge believes it
    agent: str = ""  # User-Agent, cut to 200 characters


_NOWHERE = Origin()
_ORIGIN: ContextVar[Origin] = ContextVar("shopfloor_origin", default=_NOWHERE)


def origin() -> Origin:
    """Of what is being done now."""
    return _ORIGIN.get()


@contextmanager
def coming_from(here: Origin) -> Generator[None]:
    """Everything within the block comes from `here`."""
    token = _ORIGIN.set(here)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


@lru_cache(maxsize=1_024)
def plain_address(text: str) -> str:
    """An address as ranges are compared with it: IPv4 also where it came over IPv6; empty for what is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
