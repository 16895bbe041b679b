"""What a tool takes and gives: bounded arguments in; text for the model and facts for the run out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from shopfloor.base.errors import ShopfloorError

Effects = Literal["none", "tree"]  # what a call may change: nothing, or the working tree


class Arguments(BaseModel):
    """The base of every tool's arguments: bounded, frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolRefused(ShopfloorError):
    """The tool did not do it; the detail tells the model what to do instead."""

    status: ClassVar[int] = 422
    title: ClassVar[str] = "The tool could not do this"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model sees (`text`, already bounded) and what the run must remember of the call."""

    text: str
    ok: bool = True
    seen: dict[str, str] = field(default_factory=dict[str, str])  # path -> SHA-256 of what the model now knows
    forgotten: tuple[str, ...] = ()  # paths that are no longer there
    artifact: str | None = None  # where the whole output is, if `text` leaves something out
    facts: dict[str, Any] = field(default_factory=dict[str, Any])  # JSON, for those who watch

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns back; empty parts are left out."""
        optional: dict[str, Any] = {
            "seen": self.seen,
            "forgotten": list(self.forgotten),
            "artifact": self.artifact,
            "facts": self.facts,
        }
        return {"text": self.text, "ok": self.ok} | {name: value for name, value in optional.items() if value}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ToolResult:
        """What `to_json` wrote; unknown parts, written by a newer version, are ignored."""
        return cls(
            text=record["text"],
            ok=record["ok"],
            seen=record.get("seen", {}),
            forgotten=tuple(record.get("forgotten", ())),
            artifact=record.get("artifact"),
            facts=record.get("facts", {}),
        )
