"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import Field, StringConstraints

from shopfloor.base.principal import PrincipalKind
from shopfloor.domain.audit.models import StoredEntry
from shopfloor.domain.audit.proofs import InclusionProof
from shopfloor.infra.web.json_body import Body, Reply

Result = Literal["done", "refused"]


class AuditActor(Reply):
    """Who did it."""

    kind: PrincipalKind
    id: UUID = Field(description="Of the key, the person, the worker.")
    user_id: UUID | None = Field(description="On whose behalf.")
    session_id: UUID | None


class AuditTarget(Reply):
    """What it was done to."""

    kind: str
    id: str


class AuditOrigin(Reply):
    """Where it came from."""

    request_id: str
    address: str | None = Field(description="Null: not known, or erased.")
    agent: str | None = Field(description="The User-Agent. Null: not known, or erased.")


class AuditEntryReply(Reply):
    """One change, refusal or sensitive read."""

    id: UUID
    at: datetime
    actor: AuditActor
    action: str
    target: AuditTarget
    project_id: UUID | None
    before: dict[str, Any] | None = Field(description="Only the fields that changed, redacted.")
    after: dict[str, Any] | None
    origin: AuditOrigin
    result: Result
    index: int | None = Field(description="Its place in the tree. Null for about a second: not yet there.")


class InclusionReply(Reply):
    """Leads from the entry's leaf to the root of a signed checkpoint (RFC 9162, section 2.1.3.2)."""

    leaf: str = Field(description="The canonical JSON that is hashed.")
    index: int
    size: int
    hashes: list[str] = Field(description="Hex, lowest first.")
    checkpoint: str = Field(description="The signed note.")


class AuditEntryDetail(AuditEntryReply):
    """An entry with the proof that it is in the log."""

    inclusion: InclusionReply | None


class CheckpointReply(Reply):
    """The tree at a size, signed."""

    size: int
    note: str
    created_at: datetime


class PublicKeyReply(Reply):
    """What checks the checkpoints."""

    origin: str
    algorithm: Literal["Ed25519"] = "Ed25519"
    key: str = Field(description="`name+id+base64`, as C2SP signed-note writes it: for `shopfloor audit verify --key`.")


class RestoreNew(Body):
    """That the database was put back to an earlier state."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
    size: int | None = Field(default=None, ge=1, description="How many entries the log had then. Null: as many as now.")


def entry_reply(entry: StoredEntry) -> AuditEntryReply:
    """As HTTP shows it."""
    return AuditEntryReply(**_told(entry))


def entry_detail(entry: StoredEntry, proof: InclusionProof | None) -> AuditEntryDetail:
    """As HTTP shows it."""
    inclusion = proof and InclusionReply(
        leaf=entry.leaf, index=proof.index, size=proof.size, hashes=[each.hex() for each in proof.hashes],
        checkpoint=proof.note,
    )  # fmt: skip
    return AuditEntryDetail(**_told(entry), inclusion=inclusion)


def _told(entry: StoredEntry) -> dict[str, Any]:
    leaf = orjson.loads(entry.leaf)
    actor, origin = leaf["actor"], entry.origin
    return {
        "id": entry.id,
        "at": leaf["at"],
        "actor": AuditActor(
            kind=actor["kind"], id=actor["id"], user_id=actor["user"], session_id=actor["session"]
        ),
        "action": leaf["action"],
        "target": AuditTarget(**leaf["target"]),
        "project_id": leaf["project"],
        "before": leaf["before"],
        "after": leaf["after"],
        "origin": AuditOrigin(
            request_id=leaf["origin"]["request"],
            address=origin.address if origin else None,
            agent=origin.agent if origin else None,
        ),
        "result": leaf["result"],
        "index": entry.index,
    }  # fmt: skip
