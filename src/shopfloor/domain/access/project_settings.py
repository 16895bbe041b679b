"""What a project sets for its jobs: defaults that a job may replace, and bounds that it may not pass."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from shopfloor.base.errors import InvalidInput
from shopfloor.base.money import NANOS_PER_USD, nanos_from_usd
from shopfloor.infra.web.json_body import Body

Command = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Place = Annotated[str, StringConstraints(min_length=1, max_length=262, to_lower=True)]
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=512)]

_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?")
_IMAGE = re.compile(r"([a-z0-9][a-z0-9./:_-]{0,254}@)?sha256:[0-9a-f]{64}")
_MODEL = re.compile(r"[^\s/,]+/[^\s,]+(,[^\s/,]+/[^\s,]+)*")
_HIGHEST_PORT = 65_535


class JobLimits(Body):
    """What one job may use, unless it asks for less or more within its own bounds."""

    cost_usd: Decimal | None = Field(default=None, gt=0, le=100_000, max_digits=15, decimal_places=9)
    turns: int | None = Field(default=None, ge=1, le=1_000)
    timeout_s: int | None = Field(default=None, ge=10, le=86_400)


class Approvals(Body):
    """What an agent may only do once a person has said yes. A job can ask for more, never for less."""

    tools: list[ToolName] = Field(default=[], max_length=50, description="Every call of these tools.")
    commands: list[Command] = Field(
        default=[], max_length=50, description="Shell commands that match: globs over the whole command, `git push*`."
    )
    push: bool = Field(default=False, description="Before a result is pushed to its branch.")
    by_others: bool = Field(default=False, description="Whoever submitted the job can't approve for it.")
    expires_after_s: int = Field(default=86_400, ge=60, le=2_592_000, description="Then it counts as rejected.")


class Environment(Body):
    """Where agents and checks run: an image, and commands that run in it once, before the first job."""

    image: str | None = Field(default=None, description="By digest: `name@sha256:...`, or the id of a local image.")
    setup: list[Command] = Field(default=[], max_length=32, description="Run once, in order, e.g. `pip install -e .`.")
    lock_files: list[FilePath] = Field(
        default=[], max_length=32, description="Files in the repository; when one changes, set-up runs again."
    )

    @field_validator("image")
    @classmethod
    def _by_digest(cls, image: str | None) -> str | None:
        if image is not None and not _IMAGE.fullmatch(image):
            raise ValueError("name the image by its digest: name@sha256:<64 hex digits>. A tag can change under a job")
        return image

    @field_validator("lock_files")
    @classmethod
    def _inside_the_repository(cls, paths: list[str]) -> list[str]:
        for path in paths:
            if path.startswith("/") or "\\" in path or ".." in path.split("/"):
                raise ValueError("name lock files by their path inside the repository, without ..")
        return paths


class ProjectSettings(Body):
    """A project's settings. What is left out or null is the installation's default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent": "coding",
                    "model": "anthropic/claude-sonnet-5",
                    "checks": ["pytest -q"],
                    "limits": {"cost_usd": "2.50", "turns": 80, "timeout_s": 1800},
                    "network": ["packages.example.com:443", "*.example.org"],
                    "environment": {"setup": ["pip install -e ."], "lock_files": ["pyproject.toml"]},
                    "repository_hosts": ["github.com"],
                }
            ]
        }
    )

    agent: str | None = Field(default=None, min_length=1, max_length=100)
    model: str | None = Field(
        default=None, max_length=1_000, description="`provider/model`; fall-backs after commas, tried in order."
    )
    checks: list[Command] | None = Field(
        default=None, max_length=32, description="Commands the platform runs itself. Null: detected. []: none."
    )
    limits: JobLimits = JobLimits()
    network: list[Place] = Field(
        default=[], max_length=100, description="Hosts a job's sandbox may reach: `host`, `host:port`, `*.host`."
    )
    environment: Environment = Environment()
    approvals: Approvals = Approvals()
    repository_hosts: list[Place] = Field(
        default=[], max_length=100, description="Hosts that repositories may come from. []: those of the installation."
    )

    @field_validator("model")
    @classmethod
    def _model_has_a_provider(cls, model: str | None) -> str | None:
        if model is not None and not _MODEL.fullmatch(model):
            raise ValueError("write a model as provider/model, e.g. anthropic/claude-sonnet-5; fall-backs after commas")
        return model

    @field_validator("network", "repository_hosts")
    @classmethod
    def _hosts(cls, places: list[str]) -> list[str]:
        for place in places:
            port = place.rpartition(":")[2] if ":" in place else "443"
            if not _HOST.fullmatch(place) or not 0 < int(port) <= _HIGHEST_PORT:
                raise ValueError("write a place as host, host:port or *.host, without scheme or path")
        return list(dict.fromkeys(places))


def stored(settings: ProjectSettings) -> dict[str, Any]:
    """As the row and the jobs room have it: only what is set, money in nano-USD."""
    limits = settings.limits.model_dump(exclude_none=True, exclude={"cost_usd"})
    if settings.limits.cost_usd is not None:
        limits["cost_nanos"] = nanos_from_usd(settings.limits.cost_usd)
    plain = settings.model_dump(mode="json", exclude_none=True, exclude={"limits"})
    plain["environment"] = settings.environment.model_dump(exclude_none=True, exclude_defaults=True)
    plain["approvals"] = stored_approvals(settings.approvals)
    return {name: value for name, value in {**plain, "limits": limits}.items() if value or name == "checks"}


def stored_approvals(approvals: Approvals | None) -> dict[str, Any]:
    """As the jobs room has them: only what is set."""
    return {} if approvals is None else approvals.model_dump(exclude_defaults=True)


def read(row: dict[str, Any]) -> ProjectSettings:
    """The settings of a stored row. Raises: InvalidInput for one that this version doesn't understand."""
    limits = dict(row.get("limits", {}))
    if "cost_nanos" in limits:
        limits["cost_usd"] = f"{Decimal(limits.pop('cost_nanos')) / NANOS_PER_USD:f}"
    try:
        return ProjectSettings.model_validate({**row, "limits": limits})
    except ValueError as error:
        raise InvalidInput("This project's stored settings are not valid: set them again with PATCH.") from error
