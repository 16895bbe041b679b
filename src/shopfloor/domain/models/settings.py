"""This room's slice of the settings: providers under stress."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StressSettings(BaseModel):
    """How long a call waits for room within a provider's limits, and how old a process's view of breakers may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit_wait_s: float = Field(default=30.0, gt=0)  # for room, before the next model of the chain or parking
    limit_wait_with_fallback_s: float = Field(default=2.0, gt=0)  # the same while another model could be asked
    view_s: float = Field(default=5.0, gt=0)  # after which a process reads again which breakers are open
    report_s: float = Field(default=5.0, gt=0)  # between two reports of answered calls by one process
