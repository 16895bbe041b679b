"""A log in memory, signed with a visibly fake key, and edits of its lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shopfloor.base.principal import Principal
from shopfloor.domain.audit.canonical import canonical
from shopfloor.domain.audit.entry import Circumstances, leaf_of, moment
from shopfloor.domain.audit.lines import checkpoint_line, end_line, entry_line, header_line
from shopfloor.domain.audit.merkle import Tree, leaf_hash
from shopfloor.domain.audit.note import Checkpoint, VerifierKey, origin_of, sign, verifier_key
from shopfloor.infra.origin import Origin
from shopfloor.infra.record import Entry

FAKE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORGANIZATION = UUID(int=0x019A << 112 | 0x7 << 76 | 0x8 << 60)
HERE = Origin("request-0001", "192.0.2.17", "test/1.0")
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class Log:
    """An export that grows. `lines` may be edited: that is what the tests are about."""

    organization_id: UUID = ORGANIZATION
    private: Ed25519PrivateKey = FAKE_KEY
    lines: list[bytes] = field(default_factory=list)
    outside: list[bytes] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)
    signed: int = 0
    checkpoints: int = 0

    @property
    def key(self) -> VerifierKey:
        return verifier_key(origin_of(self.organization_id), self.private)

    def add(self, action: str = "project.changed", after: dict[str, Any] | None = None, *, spare: int = 0) -> None:
        number = self.tree.size + spare
        around = Circumstances(
            UUID(int=ORGANIZATION.int | number + 1 << 8), self.organization_id, START + timedelta(seconds=number),
            Principal("user", UUID(int=7), self.organization_id), HERE, bytes([number % 256]) * 32,
        )  # fmt: skip
        leaf = leaf_of(Entry(action, "project", f"target-{number}", None, after or {"priority": number}), around)
        origin = {"salt": around.salt.hex(), "address": HERE.address, "agent": HERE.agent}
        digest = leaf_hash(leaf)
        self.lines.append(entry_line(self.tree.size, orjson.loads(leaf), origin, digest))
        self.tree.append(digest)

    def sign(self) -> None:
        at = moment(START + timedelta(seconds=self.tree.size))
        line = checkpoint_line(
            sign(Checkpoint(self.key.name, self.tree.size, self.tree.root(), at, self.signed), self.private)
        )
        self.signed, self.checkpoints = self.tree.size, self.checkpoints + 1
        self.lines.append(line)
        self.outside.append(line)

    def whole(self) -> list[bytes]:
        return [header_line(self.key), *self.lines, end_line(self.tree.size, self.checkpoints)]


def made(entries: int = 12, *, every: int = 4, **fields: Any) -> Log:
    """A log of `entries`, a checkpoint each `every`."""
    log = Log(**fields)
    for number in range(1, entries + 1):
        log.add()
        if number % every == 0 or number == entries:
            log.sign()
    return log


def edited(line: bytes, **changes: Any) -> bytes:
    """The line with fields replaced; `entry__action` reaches into the entry."""
    value = orjson.loads(line)
    for path, new in changes.items():
        *above, last = path.split("__")
        place = value
        for name in above:
            place = place[name]
        place[last] = new
    return canonical(value) + b"\n"


def rehashed(line: bytes) -> bytes:
    """The line with the hash that its entry has now."""
    return edited(line, hash=leaf_hash(canonical(orjson.loads(line)["entry"])).hex())
