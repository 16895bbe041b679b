"""What went through a sandbox's way out: bytes by place, and each new thing allowed or refused, told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from shopfloor.engine.sandbox.egress_limits import EgressLimits
from shopfloor.engine.sandbox.port import NetworkEvent

log = structlog.get_logger(__name__)

_PLACES_MAX: Final = 1000  # names below a wildcard are the sandbox's to invent
_OTHERS: Final = "others"


class Ledger:
    """Of one sandbox. `report` must neither wait nor raise."""

    def __init__(self, sandbox: str, limits: EgressLimits, report: Callable[[NetworkEvent], None] | None) -> None:
        self._sandbox = sandbox
        self._limits = limits
        self._report = report
        self._told: set[NetworkEvent] = set()
        self.connections: Counter[str] = Counter()  # by place
        self.sent: Counter[str] = Counter()  # bytes out of the sandbox
        self.received: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # by reason

    @property
    def total_bytes(self) -> int:
        """Both directions."""
        return self.sent.total() + self.received.total()

    def allow(self, place: str) -> None:
        """A connection was made."""
        self.connections[self._row(place)] += 1
        self._tell(NetworkEvent("network.allowed", place))

    def refuse(self, place: str, reason: str) -> None:
        """Something was refused; `place` may be anything that the sandbox wrote."""
        self.refused[reason] += 1
        self._tell(NetworkEvent("network.refused", _readable(place), reason))

    def count(self, place: str, *, sent: int = 0, received: int = 0) -> bool:
        """Book bytes; False: the allowance is spent."""
        row = self._row(place)
        self.sent[row] += sent
        self.received[row] += received
        return self.total_bytes <= self._limits.total_bytes

    def close(self) -> None:
        """Log the sums."""
        if self.connections or self.refused:
            log.info(
                "network.used",
                sandbox=self._sandbox,
                connections=dict(self.connections),
                sent_bytes=dict(self.sent),
                received_bytes=dict(self.received),
                refused=dict(self.refused),
            )

    def _row(self, place: str) -> str:
        return place if place in self.connections or len(self.connections) < _PLACES_MAX else _OTHERS

    def _tell(self, event: NetworkEvent) -> None:
        if event in self._told or len(self._told) >= self._limits.reports:
            return
        self._told.add(event)
        log.info(event.kind, sandbox=self._sandbox, place=event.place, reason=event.reason)
        if self._report is not None:
            self._report(event)


def _readable(text: str) -> str:
    """Visible ASCII, 200 characters at most: no line breaks or terminal codes in logs and events."""
    return "".join(char if "!" <= char <= "~" else "?" for char in text[:200])
