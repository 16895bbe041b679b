"""Which Redis, where there is one: a guest of the infrastructure, never the only home of anything."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

SCHEMES = ("redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")


class RedisSettings(BaseModel):
    """Which Redis (7 or newer) several processes share. None: each process is by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # redis://[:password@]host:port/db, rediss:// (TLS), redis+unix:///path, redis+sentinel://host:port,host:port/service,
    # redis+cluster://host:port,host:port
    url: SecretStr | None = None
    timeout_s: float = Field(default=0.2, gt=0, le=10)  # for one answer, connecting included

    @field_validator("url")
    @classmethod
    def _a_scheme_we_know(cls, url: SecretStr | None) -> SecretStr | None:
        scheme, found, rest = url.get_secret_value().partition("://") if url is not None else ("redis", "://", "-")
        if scheme not in SCHEMES or not found or not rest:
            raise ValueError(f"a Redis URL starts with {', '.join(f'{each}://' for each in SCHEMES)}")
        return url
