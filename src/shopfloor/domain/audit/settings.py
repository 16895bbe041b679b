"""What can be set about the audit log."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class AuditSettings(BaseModel):
    """Where checkpoints are kept outside the database, and how soon entries are sealed into one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint_folder: Path | None = None  # best on another machine's disk. None: SHOPFLOOR_HOME/audit
    interval_s: float = Field(default=1.0, gt=0, le=3_600)  # between two looks for entries without a place in the tree
