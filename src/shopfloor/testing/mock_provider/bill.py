"""The provider's own books: every request it was sent, what it used, what it costs.

Prices come from the scenario and the sums are made here, apart from the platform's own code, so that a test can
compare two independent bills.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from io import BufferedWriter
from pathlib import Path
from typing import Any

import orjson

from shopfloor.base.errors import InvalidInput
from shopfloor.testing.mock_provider.answer import Usage
from shopfloor.testing.mock_provider.scenario import Price

Json = dict[str, Any]


@dataclass(slots=True)
class Entry:
    """One request. `billed` is settled once: when its reply is begun."""

    id: str
    dialect: str
    model: str
    conversation: str
    turn: int
    digest: str  # equal requests have equal digests
    stream: bool
    started_at: str
    place: str = ""  # which reply of the scenario it got
    status: int | None = None  # HTTP status sent; None: none was
    fault: str | None = None
    billed: bool = False
    cut: bool = False  # billed but not delivered to its end, by a fault or because the client left
    client_left: bool = False  # it closed the connection before the end
    usage: Usage = field(default_factory=Usage)
    cost_nanos: int = 0
    finished_at: str | None = None

    @property
    def delivered(self) -> bool:
        """The whole reply left the server."""
        return self.billed and not self.cut and self.finished_at is not None

    def as_json(self) -> Json:
        """For `/_mock/requests` and the bill file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bill:
    """What was served so far."""

    entries: tuple[Entry, ...]

    @property
    def requests(self) -> int:
        """All requests, billed or not."""
        return len(self.entries)

    @property
    def billed(self) -> tuple[Entry, ...]:
        """The ones that cost."""
        return tuple(entry for entry in self.entries if entry.billed)

    @property
    def cost_nanos(self) -> int:
        """Nano-USD in all."""
        return sum(entry.cost_nanos for entry in self.billed)

    def of(self, conversation: str) -> Bill:
        """The bill of one conversation."""
        return Bill(tuple(entry for entry in self.entries if entry.conversation == conversation))

    def paid_again(self) -> list[tuple[Entry, ...]]:
        """Groups of billed requests with the same conversation, model, turn and messages, oldest first.

        A group whose first entries are all `cut` was in flight when its client died; a group that holds a
        delivered entry before the last was paid twice.
        """
        groups: dict[tuple[str, str, int, str], list[Entry]] = defaultdict(list)
        for entry in self.billed:
            groups[entry.conversation, entry.model, entry.turn, entry.digest].append(entry)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def as_json(self) -> Json:
        """`{total, models, paid_again, requests}`."""
        models: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            models[entry.model].append(entry)
        return {
            "total": _sum(self.entries),
            "models": {model: _sum(entries) for model, entries in sorted(models.items())},
            "paid_again": [[entry.id for entry in group] for group in self.paid_again()],
            "requests": [entry.as_json() for entry in self.entries],
        }


class Books:
    """Append-only; `path` gets one JSON line when a request ends."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[Entry] = []
        self._path = path
        self._file: BufferedWriter | None = None
        self._number = 0

    def open(self) -> None:
        """Raises: InvalidInput if the bill file can't be written."""
        if self._path is None:
            return
        try:
            self._file = self._path.open("ab")
        except OSError as error:
            raise InvalidInput(f"The bill can't be written: {error}", path=str(self._path)) from error

    def close(self) -> None:
        """Write out what is left."""
        if self._file is not None:
            self._file.close()

    def next_number(self) -> int:
        """1, 2, 3 ... also after `reset`, so that no two replies share an id."""
        self._number += 1
        return self._number

    def add(self, entry: Entry) -> None:
        """A request came in."""
        self._entries.append(entry)

    def end(self, entry: Entry) -> None:
        """A request is over."""
        entry.finished_at = now()
        if self._file is not None:
            self._file.write(orjson.dumps(entry.as_json()) + b"\n")
            self._file.flush()

    def reset(self) -> None:
        """Forget all entries; the file keeps its lines."""
        self._entries.clear()

    def bill(self) -> Bill:
        """As of now."""
        return Bill(tuple(self._entries))


def cost_nanos(usage: Usage, price: Price) -> int:
    """Nano-USD for one reply; a fraction of a nano-dollar counts as a whole one."""
    write_5m = price.input if price.cache_write_5m is None else price.cache_write_5m
    usd = (
        usage.input * price.input
        + usage.cache_read * (price.input if price.cache_read is None else price.cache_read)
        + usage.cache_write_5m * write_5m
        + usage.cache_write_1h * (write_5m if price.cache_write_1h is None else price.cache_write_1h)
        + usage.output * price.output
        + usage.reasoning * (price.output if price.reasoning is None else price.reasoning)
    ) / Decimal(1_000_000)
    return int((usd * 1_000_000_000).to_integral_value(ROUND_CEILING))


def now() -> str:
    """RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _sum(entries: tuple[Entry, ...] | list[Entry]) -> Json:
    billed = [entry for entry in entries if entry.billed]
    tokens = {name: sum(getattr(entry.usage, name) for entry in billed) for name in Usage.__dataclass_fields__}
    return {
        "requests": len(entries),
        "billed": len(billed),
        "cut": sum(entry.cut for entry in entries),
        "tokens": tokens,
        "cost_nanos": sum(entry.cost_nanos for entry in billed),
    }
