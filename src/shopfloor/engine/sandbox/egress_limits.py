"""The bounds of a way out: how much, how long, how many at once."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

_MOST: Final = 512


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Of one sandbox. Whoever waits at a limit is served later; what passes one is cut off."""

    connections: int = 64  # open at once; more wait unaccepted
    accept_pause_s: float = 0.005  # between two accepts, so that a flood can't occupy the worker
    lookups: int = 2  # of names at once
    head_bytes: int = 16_384  # of a request's line and headers
    head_s: float = 10.0  # until a request's head, or a ClientHello, is whole
    connect_s: float = 10.0  # for the name and the connection
    idle_s: float = 300.0  # without a byte in either direction
    half_open_s: float = 30.0  # the same once one side has ended
    connection_s: float = 3600.0
    total_bytes: int = 16 << 30  # both directions, all connections, for the sandbox's life
    reports: int = 200  # different events told; a flood of refusals is counted, not told


def shared_connections() -> int:
    """For all sandboxes of this process: each takes two descriptors, half of all stay for the rest of the worker."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(8, min(_MOST, soft // 4))
