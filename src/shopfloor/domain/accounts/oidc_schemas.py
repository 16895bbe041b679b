"""What goes in and out about single sign-on over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, StringConstraints

from shopfloor.domain.access.schemas import Slug
from shopfloor.domain.accounts.models import SessionKind
from shopfloor.domain.accounts.oidc_domains import record_of
from shopfloor.domain.accounts.oidc_models import IdentityProvider, VerifiedDomain
from shopfloor.domain.accounts.schemas_factors import ShownCredential
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

_ISSUER = "Write the issuer's address without ? and #, e.g. https://login.example.org."
ProviderName = Slug
Issuer = Annotated[
    str, StringConstraints(min_length=8, max_length=2048, pattern=worded(r"^https?://[^?#\s]+$", _ISSUER))
]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[!-~]+$")]
ClientSecret = Annotated[SecretStr, Field(min_length=1, max_length=2048)]
Scope = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!#-\[\]-~]+$")]
DefaultRole = Literal["admin", "manager", "developer", "viewer", "auditor"]
ReturnTo = Annotated[str, StringConstraints(max_length=500)]
_SCOPES = ["openid", "email", "profile"]


def _asks_for_an_id(scopes: list[str]) -> list[str]:
    if "openid" not in scopes:
        raise ValueError("without the scope openid a provider gives no ID token")
    return scopes


Scopes = Annotated[list[Scope], Field(min_length=1, max_length=20), AfterValidator(_asks_for_an_id)]


class IdentityProviderNew(Body):
    """An OpenID Connect provider to sign in with. Register our redirect URI there: `/api/v1/auth/oidc/callback`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "corp", "issuer": "https://id.example.org", "client_id": "shopfloor", "client_secret": "..."}
            ]
        }
    )

    name: ProviderName = Field(description="Its name in lists and in the audit trail; it never changes.")
    issuer: Issuer = Field(description="To the letter as the provider writes it.")
    client_id: ClientId
    client_secret: ClientSecret | None = Field(default=None, description="Write-only. Null: a public client.")
    scopes: Scopes = _SCOPES
    default_role: DefaultRole = Field(
        default="viewer", description="Of accounts that are made. Above developer: only an owner can set it."
    )
    makes_accounts: bool = Field(
        default=False, description="Makes an account at the first sign-in: a verified address of a proved domain."
    )
    counts_as_second_factor: bool = Field(
        default=False, description="When the ID token says that several factors were used (`amr` has `mfa`)."
    )
    enabled: bool = True

    def fields(self) -> dict[str, Any]:
        """The columns, and the secret as it is."""
        return _plain(self.model_dump())


class IdentityProviderChange(Body):
    """What to change. What is left out stays. Another issuer needs the client secret anew."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    issuer: Issuer = "https://id.example.org"
    client_id: ClientId = "shopfloor"
    client_secret: ClientSecret | None = None
    scopes: Scopes = _SCOPES
    default_role: DefaultRole = "viewer"
    makes_accounts: bool = False
    counts_as_second_factor: bool = False
    enabled: bool = True

    def fields(self) -> dict[str, Any]:
        """Only what the client sent."""
        return _plain({name: getattr(self, name) for name in self.model_fields_set})


class IdentityProviderReply(Reply):
    """An identity provider. Its client secret is not shown."""

    id: UUID
    name: str
    issuer: str
    client_id: str
    has_secret: bool
    scopes: list[str]
    default_role: str
    makes_accounts: bool
    counts_as_second_factor: bool
    enabled: bool
    start_url: str = Field(description="Where people begin to sign in, with `return_to` if you like.")
    version: int
    created_at: datetime
    updated_at: datetime


class IdentityProviderTest(Reply):
    """What a provider says of itself just now."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    algorithms: list[str] = Field(description="Of its ID tokens; those that we take.")
    keys: int = Field(description="How many of its keys may sign.")
    answers_with_issuer: bool = Field(description="RFC 9207: it names itself when it sends people back.")
    redirect_uri: str = Field(description="Ours, to be registered there.")


class DomainNew(Body):
    """A domain of mail addresses to prove."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"domain": "example.org"}]})

    domain: Annotated[str, StringConstraints(min_length=3, max_length=253)]


class DomainReply(Reply):
    """A domain, and the DNS record that proves it."""

    id: UUID
    domain: str
    record_name: str = Field(description="Of a TXT record.")
    record_text: str
    verified_by: str | None = Field(description="`dns` or `operator`; null: not proved yet.")
    verified_at: datetime | None
    created_at: datetime


class IdentityLinkNew(Body):
    """A provider to link to your account."""

    identity_provider_id: UUID
    return_to: ReturnTo = Field(default="/", description="Where the browser goes afterwards: a path of this site.")


class IdentityLinkReply(Reply):
    """Where to send the browser."""

    url: str


class IdentityReply(Reply):
    """An identity that signs you in."""

    id: UUID
    provider_id: UUID
    issuer: str
    subject: str
    created_at: datetime
    last_used_at: datetime | None


class Identities(Reply):
    """All of yours."""

    items: list[IdentityReply]


class PasskeySignIn(Body):
    """A browser's answer to the options of a sign-in."""

    credential: ShownCredential
    kind: SessionKind = "browser"


def provider_reply(provider: IdentityProvider) -> IdentityProviderReply:
    """As HTTP shows it."""
    names = (
        "id", "name", "issuer", "client_id", "scopes", "default_role", "makes_accounts", "counts_as_second_factor",
        "enabled", "version", "created_at", "updated_at",
    )  # fmt: skip
    fields: dict[str, Any] = {name: getattr(provider, name) for name in names}
    start_url = f"/api/v1/auth/oidc/{provider.id}/start"
    return IdentityProviderReply(**fields, has_secret=provider.sealed_secret is not None, start_url=start_url)


def domain_reply(domain: VerifiedDomain) -> DomainReply:
    """As HTTP shows it."""
    name, text = record_of(domain)
    return DomainReply(
        id=domain.id, domain=domain.domain, record_name=name, record_text=text, verified_by=domain.verified_by,
        verified_at=domain.verified_at, created_at=domain.created_at,
    )  # fmt: skip


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    secret = fields.get("client_secret")
    return {**fields, "client_secret": secret.get_secret_value()} if isinstance(secret, SecretStr) else fields
