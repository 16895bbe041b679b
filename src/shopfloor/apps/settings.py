"""The one place that reads the environment and files: each owner's slice, checked as a whole before anything starts."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from shopfloor.base.errors import SettingsError
from shopfloor.domain.accounts.settings import AccountsSettings
from shopfloor.domain.audit.settings import AuditSettings
from shopfloor.domain.budgets.ledger import LedgerSettings
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.models.settings import StressSettings
from shopfloor.domain.notifications.settings import NotificationsSettings
from shopfloor.engine.providers.breaker import BreakerPolicy
from shopfloor.engine.providers.profiles import ModelProfiles
from shopfloor.engine.sandbox.settings import SandboxSettings
from shopfloor.infra.database import DatabaseSettings
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.redis import RedisSettings
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.infra.telemetry import LogSettings
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.rate_limiting import LimitsSettings

Layer = Mapping[str, Any]

_PREFIX = "SHOPFLOOR_"
_NOT_SETTINGS = {"SHOPFLOOR_URL", "SHOPFLOOR_API_KEY", "SHOPFLOOR_HOME"}  # the CLI's own, and the data folder
_FILE = "shopfloor.toml"
_SYSTEM_HOME = Path("/var/lib/shopfloor")  # for root: PostgreSQL's own user can't pass /root


class ProvidersSettings(BaseModel):
    """How model providers are reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_private: bool = False  # providers on this machine or a private network (Ollama, vLLM, the mock)
    call_timeout_s: float = Field(default=600.0, gt=0)  # one attempt of one model call
    attempts: int = Field(default=3, ge=1, le=20)  # per model of a chain
    breaker: BreakerPolicy = BreakerPolicy()
    stress: StressSettings = StressSettings()
    profiles: dict[str, list[str]] = {}  # what an agent's `strong`, `balanced`, `fast` stand for: models in order

    @model_validator(mode="after")
    def _profiles_can_be_read(self) -> ProvidersSettings:
        _ = self.model_profiles
        return self

    @property
    def model_profiles(self) -> ModelProfiles:
        """The profiles, typed."""
        return ModelProfiles(profiles=self.profiles)


class RepositoriesSettings(BaseModel):
    """Which repositories may be fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = ()  # `git.example.com`, `*.example.com`; empty: every public host
    credentials: dict[str, SecretStr] = {}  # host -> `token` or `user:token`, for fetch and push by the platform
    allow_http: bool = False
    allow_private: bool = False
    max_mib: int = Field(default=2048, ge=1)


class Settings(BaseModel):
    """Everything that can be set. `SHOPFLOOR_<PART>__<NAME>` in the environment, `[part] name =` in shopfloor.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    mode: Literal["development", "production"] = "development"  # production refuses default and weak secrets
    database: DatabaseSettings = DatabaseSettings()
    jobs: JobsSettings = JobsSettings()
    ledger: LedgerSettings = LedgerSettings()
    sandbox: SandboxSettings = Field(default_factory=lambda: SandboxSettings.model_validate({}))
    providers: ProvidersSettings = ProvidersSettings()
    repositories: RepositoriesSettings = RepositoriesSettings()
    secrets: SecretsSettings = SecretsSettings()
    web: EdgeSettings = EdgeSettings()
    accounts: AccountsSettings = AccountsSettings()
    mail: MailSettings = MailSettings()
    notifications: NotificationsSettings = NotificationsSettings()
    limits: LimitsSettings = LimitsSettings()
    redis: RedisSettings = RedisSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    agents_folder: Path | None = None  # agent specs of one's own, *.yaml

    @model_validator(mode="after")
    def _links_in_mails_lead_somewhere(self) -> Settings:
        if self.mail.host and not self.accounts.public_url:
            raise ValueError("set SHOPFLOOR_ACCOUNTS__PUBLIC_URL too: links in mails start with it")
        return self

    @property
    def blobs_folder(self) -> Path:
        """Artifacts, snapshots, bundles."""
        return self.home / "blobs"

    @property
    def repositories_folder(self) -> Path:
        """Bare copies of remote repositories."""
        return self.home / "repositories"

    @property
    def work_folder(self) -> Path:
        """What running jobs have on this machine."""
        return self.home / "work"

    @property
    def checkpoint_folder(self) -> Path:
        """The audit log's checkpoints, outside the database."""
        return self.audit.checkpoint_folder or self.home / "audit"

    @property
    def admin_key_file(self) -> Path:
        """The first key, written once."""
        return self.home / "admin.key"


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """The settings of this process. Raises: SettingsError that names the key and what is wrong with it."""
    environ = os.environ if environ is None else environ
    home = default_home(environ)
    values = _merged(_file(home), _environment(environ), overrides)
    values.setdefault("sandbox", {}).setdefault("state_dir", str(home / "sandboxes"))
    try:
        return Settings.model_validate({"home": home, **values})
    except ValidationError as error:
        raise SettingsError(_explained(error)) from error


def default_home(environ: Mapping[str, str]) -> Path:
    """SHOPFLOOR_HOME, else /var/lib/shopfloor for root, else the user's data folder."""
    if chosen := environ.get("SHOPFLOOR_HOME"):
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return _SYSTEM_HOME
    return Path(platformdirs.user_data_dir("shopfloor"))


def _file(home: Path) -> dict[str, Any]:
    file = home / _FILE
    if not file.exists():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}.") from error


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS:
            continue
        *parts, last = name.removeprefix(_PREFIX).lower().split("__")
        place = values
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = _value(text)
    return values


def _value(text: str) -> Any:
    """Lists and tables as JSON; anything else as it is: the slice's types read it."""
    if text[:1] in {"[", "{"}:
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below: Any = merged.get(name)
            both = isinstance(below, dict) and isinstance(value, dict)
            merged[name] = _merged(cast("Layer", below), cast("Layer", value)) if both else value
    return merged


def _explained(error: ValidationError) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in problem["loc"]]
        name = _PREFIX + "__".join(path).upper()
        if not path:
            lines.append(problem["msg"].removeprefix("Value error, "))
        elif problem["type"] == "extra_forbidden":
            lines.append(f"{name}: there is no such setting")
        else:
            lines.append(f"{name}: {problem['msg']}")
    return "; ".join(lines) + ". Nothing was started. docs/reference/settings.md lists every setting."
