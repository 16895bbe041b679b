"""What can be set about notifications."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class NotificationsSettings(BaseModel):
    """How webhooks are reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_private: bool = False  # webhooks on private addresses and over plain HTTP, for one's own network
    timeout_s: float = Field(default=20.0, gt=0, le=60)  # for a webhook's whole answer
