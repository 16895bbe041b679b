"""How a job asks for a person's yes, and waits for the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol
from uuid import UUID

from shopfloor.base.errors import ShopfloorError
from shopfloor.domain.jobs import lease as leases
from shopfloor.domain.jobs.lease import Lease
from shopfloor.domain.jobs.lifecycle import WaitingReason
from shopfloor.engine.tools.result import ToolResult
from shopfloor.infra.tx import Tx

AskedKind = Literal["tool", "push"]
Write = Callable[[Callable[[Tx], Awaitable[Any]]], Awaitable[Any]]
_SUMMARY_CHARS = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that needs a yes. With its job, `kind`, `scope`, `turn` and `key` tell it from every other."""

    kind: AskedKind
    scope: str
    turn: int
    key: str
    tool: str
    arguments: dict[str, Any]

    def summary(self) -> str:
        """One line for people."""
        command = self.arguments.get("command") or self.arguments.get("path") or self.arguments.get("branch")
        text = f"{self.tool}: {command}" if command else self.tool
        return text if len(text) <= _SUMMARY_CHARS else f"{text[: _SUMMARY_CHARS - 3]}..."


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said, or nobody did in time."""

    allowed: bool
    why: str = ""


class Gate(Protocol):
    """Who asks people and keeps their answers. The approvals room, handed in by wiring."""

    async def ask(self, tx: Tx, lease: Lease, asked: Asked) -> Answer | None:
        """The answer, or None: it is asked now, and nobody has answered yet. Asking again changes nothing."""
        ...

    async def pending(self, tx: Tx, job_id: UUID) -> bool:
        """Whether the job has something unanswered; locked until the commit, so that no answer comes in between."""
        ...


class ApprovalNeeded(ShopfloorError):
    """The job can't go on before somebody has answered; it waits, and goes on from its journal then."""

    status: ClassVar[int] = 409
    title: ClassVar[str] = "Somebody has to approve this first"


async def ask_first(write: Write, lease: Lease, gate: Gate, asked: Asked) -> dict[str, Any] | None:
    """None: somebody has said yes; else what the agent is given instead of a result. Raises: ApprovalNeeded."""

    async def work(tx: Tx) -> Answer | None:
        await leases.hold_fast(tx, lease)
        return await gate.ask(tx, lease, asked)

    answer = await write(work)
    if answer is None:
        raise ApprovalNeeded(f"{asked.summary()} needs an approval. `shopfloor approval list` shows what waits.")
    if answer.allowed:
        return None
    return ToolResult(
        f"This was not approved: {answer.why}. Do without it, or finish and say so.", ok=False,
        facts={"approval": answer.why},
    ).to_json()  # fmt: skip


async def wait_for_approval(tx: Tx, lease: Lease, gate: Gate, error: ApprovalNeeded) -> None:
    """Park the job until somebody answers. An answer that came meanwhile lets it go on at once. Raises: LeaseLost."""
    if await gate.pending(tx, lease.job_id):
        await leases.park(tx, lease, WaitingReason.APPROVAL, wait_s=0, error=error)
    else:
        await leases.give_back(tx, lease, "the answer has come")
