"""What goes in and out of this room over HTTP. A value only ever goes in."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from shopfloor.domain.secrets.models import Kind, Secret
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

_NAME = "Write 1 to 100 letters, digits, dots, underscores and hyphens, with a letter or digit first."
Name = Annotated[str, StringConstraints(pattern=worded(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", _NAME))]
Value = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
Username = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=worded(r"^[^:]+$", "Write a name without a colon."))
]

_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SecretNew(Body):
    """A secret to keep."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "forge", "kind": "git", "host": "git.example.com", "value": "visibly-fake-token"}]
        }
    )

    name: Name
    value: Value = Field(description="Kept sealed, and never shown again.")
    kind: Kind = Field(default="generic", description="`git`: the platform fetches and pushes with it on `host`.")
    project_id: UUID | None = Field(default=None, description="Null: for the whole organization.")
    host: str | None = Field(default=None, max_length=253, description="Of a git secret, without port.")
    username: Username | None = Field(default=None, description="Null: whatever goes with a token.")

    @field_validator("host")
    @classmethod
    def _is_host(cls, host: str | None) -> str | None:
        if host is not None and not _HOST.fullmatch(host.lower()):
            raise ValueError("write a host as git.example.com, without scheme, port or path")
        return host.lower() if host is not None else None


class SecretChange(Body):
    """What to change. What is left out stays; a new username needs the value with it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "visibly-fake-token-2"}]})

    value: Value = Field(default="", description="The new value.")
    username: Username | None = None


class SecretReply(Reply):
    """What is known of a secret. Its value is not."""

    id: UUID
    name: str
    kind: Kind
    project_id: UUID | None
    host: str | None
    username: str | None
    version: int
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = Field(description="Exact to a minute.")


class DataKeyRotated(Reply):
    """What a new data key came to."""

    key_id: UUID
    values: int = Field(description="Secrets sealed anew.")
    broken: int = Field(description="That did not open, and stay as they are; the log names them.")


def secret_reply(secret: Secret) -> SecretReply:
    """As HTTP shows it."""
    return SecretReply(**{name: getattr(secret, name) for name in SecretReply.model_fields})
