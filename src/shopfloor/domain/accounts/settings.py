"""What can be set about signing in."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

_DAY_S = 86_400


class AccountsSettings(BaseModel):
    """How long things hold, and what links in mails start with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public_url: str = ""  # `https://shopfloor.example.com`, for links; empty: the address a request came to
    idle_s: int = Field(default=12 * 3_600, ge=60, le=30 * _DAY_S)  # a session that nobody used so long is over
    absolute_s: int = Field(default=7 * _DAY_S, ge=300, le=90 * _DAY_S)  # a session is over then, used or not
    access_token_s: int = Field(default=600, ge=30, le=600)  # one access token; a new one comes by refresh
    identity_allow_private: bool = False  # identity providers on private addresses, and over plain HTTP
    hash_at_once: int = Field(default=2, ge=1, le=64)  # passwords checked at the same time: 19 MiB and a core each

    @field_validator("public_url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if url and not url.startswith(("https://", "http://")):
            raise ValueError("write it like https://shopfloor.example.com")
        return url.rstrip("/")
