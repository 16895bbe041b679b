"""What goes in and out of this room over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints

from shopfloor.base.principal import PrincipalKind
from shopfloor.domain.access import project_settings
from shopfloor.domain.access.keys import KeyText
from shopfloor.domain.access.models import ApiKey, Project
from shopfloor.domain.access.project_settings import ProjectSettings
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

_SLUG = "Write 1 to 63 lower-case letters, digits and hyphens, with a letter or digit first, e.g. web-shop."
_EMAIL = "Write an address with one @ and no spaces, e.g. name@example.org."
_DOMAIN = "Write the name of a domain, e.g. example.org."
_MARK = "Write 1 to 32 letters, digits, dots, underscores and hyphens, with a letter or digit first, e.g. pci-dss."
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Slug = Annotated[str, StringConstraints(pattern=worded(r"^[a-z0-9][a-z0-9-]{0,62}$", _SLUG))]
Permission = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_SOON = timedelta(days=14)
Status = Literal["active", "paused", "completed", "archived"]
Email = Annotated[str, StringConstraints(pattern=worded(r"^[^@\s]{1,64}@[^@\s]{1,189}$", _EMAIL), to_lower=True)]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("write an IANA name, e.g. Europe/Berlin or UTC")
    return name


TimeZone = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(_known_zone),
    Field(json_schema_extra={"examples": ["Europe/Berlin"]}),
]
Domain = Annotated[
    str,
    StringConstraints(
        pattern=worded(r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}$", _DOMAIN),
        max_length=253,
        to_lower=True,
    ),
]


class Me(Reply):
    """Who this request's key speaks for."""

    kind: PrincipalKind
    id: UUID
    name: str
    organization_id: UUID
    project_ids: list[UUID] | None = Field(description="Null: every project of the organization.")


class PermissionSource(Reply):
    """Where permissions come from."""

    kind: Literal["role", "grant", "team", "owner"]
    role: str
    team_id: UUID | None = Field(description="Of a team that has a role in the project.")


class ProjectPermissions(Reply):
    """What one may do in one project beyond what holds in the whole organization."""

    project_id: UUID
    permissions: list[str]
    sources: list[PermissionSource]


class MyPermissions(Reply):
    """What this request may do, where, and why. A key may less than the roles of its person, never more."""

    permissions: list[str] = Field(description="In the whole organization.")
    project_ids: list[UUID] | None = Field(description="Null: in every project of the organization.")
    sources: list[PermissionSource] = Field(description="Of the permissions in the whole organization.")
    projects: list[ProjectPermissions]


class OrganizationReply(Reply):
    """A tenant: everything belongs to exactly one."""

    id: UUID
    slug: str
    name: str
    operator: bool = Field(description="Runs the installation: its owners may make other organizations.")
    max_running_jobs: int
    time_zone: str = Field(description="IANA name: where its days begin, for budgets and summaries.")
    version: int
    created_at: datetime


class OrganizationNew(Body):
    """An organization to make."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"slug": "acme", "name": "Acme", "owner_email": "owner@example.org"}]}
    )

    slug: Slug = Field(description="Its name in addresses; it never changes.")
    name: Name
    owner_email: Email = Field(description="Of its first owner, who gets in by POST /api/v1/organizations/setup-link.")


class OrganizationMade(OrganizationReply):
    """A new organization and its owner."""

    owner_id: UUID


class OrganizationChange(Body):
    """What to change. What is left out stays."""

    name: Name = Field(default="", description="What people call it.")
    max_running_jobs: int = Field(default=20, ge=1, le=10_000, description="Over all its projects.")
    time_zone: TimeZone = Field(default="UTC", description="IANA name, e.g. Europe/Berlin. Of new budgets, summaries.")


SecurityLevel = Literal["low", "standard", "high", "critical"]
Classification = Literal["public", "internal", "confidential", "restricted"]
Visibility = Literal["organization", "team", "private"]
Mark = Annotated[str, StringConstraints(pattern=worded(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$", _MARK), to_lower=True)]
CostCentre = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]


def _ip_range(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError("write a range as 192.0.2.0/24 or 2001:db8::/32, or one address") from None


IpRange = Annotated[str, StringConstraints(max_length=49), AfterValidator(_ip_range)]


class ProjectPlace(Body):
    """Whose a project is, how much care it wants, and who may touch it."""

    owner_id: UUID | None = Field(default=None, description="A member; manages it. New ones belong to their maker.")
    team_id: UUID | None = Field(default=None, description="Its members have the team's role in the project.")
    security_level: SecurityLevel = "standard"
    classification: Classification = Field(default="internal", description="Of the data it works on.")
    compliance: list[Mark] = Field(default=[], max_length=20, description="Marks like gdpr, hipaa, sox, pci, iso27001.")
    cost_centre: CostCentre | None = None
    visibility: Visibility = Field(
        default="organization",
        description="`team`: its owner, its team and those with a grant; `private`: its owner and those with a grant. "
        "Owners, admins and auditors of the organization see all.",
    )
    email_domains: list[Domain] = Field(
        default=[], max_length=50, description="Only people with such an address may touch it. []: everybody."
    )
    ip_ranges: list[IpRange] = Field(
        default=[], max_length=50, description="Only requests from there may touch it. []: from everywhere."
    )


class ProjectNew(ProjectPlace):
    """A project to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"slug": "shop", "name": "Web shop"}]})

    slug: Slug = Field(description="Its name in addresses and commands; it never changes.")
    name: Name
    priority: int = Field(default=0, ge=-100, le=100, description="Of its jobs; higher goes first.")
    max_running_jobs: int = Field(default=10, ge=1, le=10_000)
    settings: ProjectSettings = ProjectSettings()


class ProjectChange(ProjectPlace):
    """What to change. What is left out stays; `settings` is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "paused"}]})

    name: Name = ""
    status: Status = "active"
    priority: int = Field(default=0, ge=-100, le=100)
    max_running_jobs: int = Field(default=10, ge=1, le=10_000)
    settings: ProjectSettings = ProjectSettings()


class ProjectReply(Reply):
    """A project: where jobs are submitted to."""

    id: UUID
    slug: str
    name: str
    status: Status
    priority: int
    max_running_jobs: int
    settings: ProjectSettings
    owner_id: UUID | None
    team_id: UUID | None
    security_level: SecurityLevel
    classification: Classification
    compliance: list[str]
    cost_centre: str | None
    visibility: Visibility
    email_domains: list[str]
    ip_ranges: list[str]
    version: int
    created_at: datetime
    updated_at: datetime


class ApiKeyNew(Body):
    """A key to make. It may at most what its maker may."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "permissions": ["job.submit", "job.read"]}]}
    )

    name: Name = Field(description="For people: who or what uses it.")
    permissions: list[Permission] = Field(min_length=1, max_length=100)
    project_ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=100, description="Null: as many projects as its maker."
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="Null: until it is revoked, or as long as the key that makes it."
    )
    ip_ranges: list[IpRange] | None = Field(
        default=None, min_length=1, max_length=50, description="It counts from these addresses only. Null: from any."
    )
    user_id: UUID | None = Field(default=None, description="A service account that it acts as. Null: you.")


class ApiKeyRotate(Body):
    """How long the present secret is good beside the new one."""

    overlap_s: int = Field(default=86_400, ge=0, le=2_592_000, description="Seconds; 0: it ends at once.")


class ApiKeyReply(Reply):
    """What is known of a key. Its secret is not."""

    id: UUID
    user_id: UUID
    name: str
    public_id: str = Field(description="The part of the key that may be shown: `sf_live_<public_id>_...`.")
    permissions: list[str]
    project_ids: list[UUID] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Exact to a minute.")
    last_used_address: str | None
    ip_ranges: list[str] | None = Field(description="Null: from any address.")
    rotated_at: datetime | None = Field(description="When it got its present secret, if not at the start.")
    previous_until: datetime | None = Field(description="Until when the secret before that is good.")
    expires_soon: bool = Field(description="It ends within 14 days: rotate won't help, make another one.")


class ApiKeyMade(ApiKeyReply):
    """A new key, with its text: this answer is the only place it is ever shown."""

    key: str


def project_reply(project: Project) -> ProjectReply:
    """As HTTP shows it."""
    fields: dict[str, Any] = {name: getattr(project, name) for name in Project.__slots__}
    fields["settings"] = project_settings.read(project.settings)
    return ProjectReply(**fields)


def key_reply(key: ApiKey, now: datetime) -> ApiKeyReply:
    """As HTTP shows it."""
    return ApiKeyReply(**_key(key, now))


def key_made(key: ApiKey, text: KeyText, now: datetime) -> ApiKeyMade:
    """As HTTP shows it, once."""
    return ApiKeyMade(**_key(key, now), key=text.text)


def _key(key: ApiKey, now: datetime) -> dict[str, Any]:
    soon = key.revoked_at is None and key.expires_at is not None and now < key.expires_at <= now + _SOON
    return {name: getattr(key, name) for name in ApiKey.__slots__} | {"expires_soon": soon}
