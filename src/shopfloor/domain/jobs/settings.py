"""This room's slice of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shopfloor.domain.jobs.models import Limits


class JobsSettings(BaseModel):
    """How jobs are run on this installation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: int = Field(default=4, ge=1, le=256)  # jobs that one worker runs at a time
    heartbeat_s: float = Field(default=1.0, gt=0)  # how often a worker says that its runs live
    heartbeat_limit_s: float = Field(default=8.0, gt=0)  # silence after which a run is lost
    sweep_s: float = Field(default=0.5, gt=0)  # how often each process looks for jobs to admit and runs to rescue
    max_crashes: int = Field(default=5, ge=1)  # lost runs before a job is dead
    max_failures: int = Field(default=8, ge=1)  # retryable failures of our own parts before a job is dead
    provider_pause_longest_s: float = Field(default=300.0, gt=0)  # between two looks at a provider that is down
    provider_patience_s: float = Field(default=86_400.0, gt=0)  # how long a job waits for its provider
    max_admitted: int = Field(default=64, ge=1)  # jobs on the queue or running, over all organizations
    idempotency_hours: int = Field(default=24, ge=24)
    task_bytes: int = Field(default=262_144, ge=1_024)
    check_timeout_s: float = Field(default=900.0, gt=0)
    patch_bytes: int = Field(default=16_777_216, gt=0)
    default_agent: str = "coding"
    default_model: str | None = None
    default_limits: Limits = Limits()
