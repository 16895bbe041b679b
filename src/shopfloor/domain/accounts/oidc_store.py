"""Every query about single sign-on, inside the organization of the transaction's principal."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.accounts.oidc_models import Flow, Identity, IdentityProvider, VerifiedDomain
from shopfloor.infra.tx import Tx

_PROVIDER = (
    "id, name, issuer, client_id, sealed_secret, scopes, default_role, makes_accounts, counts_as_second_factor, "
    "enabled, version, created_at, updated_at"
)
_IDENTITY = "id, user_id, provider_id, issuer, subject, created_at, last_used_at"
_DOMAIN = "id, domain, token, verified_by, verified_at, created_at"
_FLOW = "organization_id, provider_id, browser_hash, return_to, link_session_id, ends_at"


async def add_provider(tx: Tx, provider_id: UUID, fields: dict[str, Any]) -> bool:
    """False when the name is taken."""
    added = await tx.execute(
        "insert into identity_providers (id, organization_id, name, issuer, client_id, sealed_secret, scopes, "
        "default_role, makes_accounts, counts_as_second_factor, enabled) values (%(id)s, %(organization_id)s, "
        "%(name)s, %(issuer)s, %(client_id)s, %(sealed_secret)s, %(scopes)s, %(default_role)s, %(makes_accounts)s, "
        "%(counts_as_second_factor)s, %(enabled)s) on conflict (organization_id, name) do nothing",
        {**fields, "id": provider_id, "organization_id": tx.organization_id},
    )
    return added == 1


async def change_provider(tx: Tx, old: IdentityProvider, fields: dict[str, Any]) -> bool:
    """False when it has changed since `old` was read."""
    changed = await tx.execute(
        "update identity_providers set issuer = %(issuer)s, client_id = %(client_id)s, "
        "sealed_secret = %(sealed_secret)s, scopes = %(scopes)s, default_role = %(default_role)s, "
        "makes_accounts = %(makes_accounts)s, counts_as_second_factor = %(counts_as_second_factor)s, "
        "enabled = %(enabled)s, version = version + 1, updated_at = now() where id = %(id)s and version = %(version)s",
        {**fields, "id": old.id, "version": old.version},
    )
    return changed == 1


async def providers(tx: Tx, *, after: str | None, limit: int) -> list[IdentityProvider]:
    """By name."""
    rows = await tx.all(
        f"select {_PROVIDER} from identity_providers where organization_id = %s "
        "and (%s::text is null or name > %s) order by name limit %s",
        (tx.organization_id, after, after, limit),
    )
    return [IdentityProvider(**row) for row in rows]


async def provider(tx: Tx, provider_id: UUID) -> IdentityProvider | None:
    """Switched off or not."""
    row = await tx.one(f"select {_PROVIDER} from identity_providers where id = %s", (provider_id,))
    return IdentityProvider(**row) if row else None


async def organization_of_provider(tx: Tx, provider_id: UUID) -> UUID | None:
    """Asked by the system itself: who begins to sign in has named a provider alone."""
    row = await tx.one("select organization_id from identity_providers where id = %s and enabled", (provider_id,))
    return row["organization_id"] if row else None


async def remove_provider(tx: Tx, provider_id: UUID) -> None:
    """With the identities that it vouched for."""
    await tx.execute("delete from identity_providers where id = %s", (provider_id,))


async def add_flow(tx: Tx, state_hash: bytes, flow: Flow) -> None:
    """Those that have ended are forgotten on the way."""
    await tx.execute(
        "delete from oidc_flows where organization_id = %s and ends_at < %s", (tx.organization_id, tx.clock.now())
    )
    await tx.execute(
        f"insert into oidc_flows (state_hash, {_FLOW}) values (%s, %s, %s, %s, %s, %s, %s)",
        (
            state_hash, flow.organization_id, flow.provider_id, flow.browser_hash, flow.return_to,
            flow.link_session_id, flow.ends_at,
        ),
    )  # fmt: skip


async def organization_of_flow(tx: Tx, state_hash: bytes) -> UUID | None:
    """Asked by the system itself: who comes back has shown a state alone."""
    row = await tx.one("select organization_id from oidc_flows where state_hash = %s", (state_hash,))
    return row["organization_id"] if row else None


async def take_flow(tx: Tx, state_hash: bytes) -> Flow | None:
    """It, and from the commit on it is gone: of two who come back with one state, one alone gets it."""
    row = await tx.one(f"delete from oidc_flows where state_hash = %s returning {_FLOW}", (state_hash,))
    return Flow(**row) if row else None


async def identity(tx: Tx, provider_id: UUID, issuer: str, subject: str) -> Identity | None:
    """Whoever that provider calls so."""
    row = await tx.one(
        f"select {_IDENTITY} from identities where organization_id = %s and provider_id = %s and issuer = %s "
        "and subject = %s",
        (tx.organization_id, provider_id, issuer, subject),
    )
    return Identity(**row) if row else None


async def identities(tx: Tx, user_id: UUID) -> list[Identity]:
    """Of one person, oldest first; a person has few."""
    rows = await tx.all(
        f"select {_IDENTITY} from identities where organization_id = %s and user_id = %s order by id limit 100",
        (tx.organization_id, user_id),
    )
    return [Identity(**row) for row in rows]


async def add_identity(tx: Tx, user_id: UUID, provider_id: UUID, issuer: str, subject: str) -> bool:
    """False when it is somebody's already."""
    added = await tx.execute(
        "insert into identities (id, organization_id, user_id, provider_id, issuer, subject) "
        "values (%s, %s, %s, %s, %s, %s) on conflict (organization_id, provider_id, issuer, subject) do nothing",
        (new_id(), tx.organization_id, user_id, provider_id, issuer, subject),
    )
    return added == 1


async def note_use(tx: Tx, identity_id: UUID) -> None:
    """It signed somebody in."""
    await tx.execute("update identities set last_used_at = %s where id = %s", (tx.clock.now(), identity_id))


async def remove_identity(tx: Tx, user_id: UUID, identity_id: UUID) -> bool:
    """False when the person has none of that id."""
    return await tx.execute("delete from identities where id = %s and user_id = %s", (identity_id, user_id)) == 1


async def add_domain(tx: Tx, domain: str, token: str) -> VerifiedDomain | None:
    """None when it is on the list already."""
    row = await tx.one(
        "insert into verified_domains (id, organization_id, domain, token) values (%s, %s, %s, %s) "
        f"on conflict (organization_id, domain) do nothing returning {_DOMAIN}",
        (new_id(), tx.organization_id, domain, token),
    )
    return VerifiedDomain(**row) if row else None


async def domains(tx: Tx, *, after: str | None, limit: int) -> list[VerifiedDomain]:
    """By name."""
    rows = await tx.all(
        f"select {_DOMAIN} from verified_domains where organization_id = %s and (%s::text is null or domain > %s) "
        "order by domain limit %s",
        (tx.organization_id, after, after, limit),
    )
    return [VerifiedDomain(**row) for row in rows]


async def domain(tx: Tx, domain_id: UUID) -> VerifiedDomain | None:
    """Proved or not."""
    row = await tx.one(f"select {_DOMAIN} from verified_domains where id = %s", (domain_id,))
    return VerifiedDomain(**row) if row else None


async def domain_named(tx: Tx, name: str) -> VerifiedDomain | None:
    """Proved or not."""
    row = await tx.one(
        f"select {_DOMAIN} from verified_domains where organization_id = %s and domain = %s", (tx.organization_id, name)
    )
    return VerifiedDomain(**row) if row else None


async def note_verified(tx: Tx, domain_id: UUID, how: str, at: datetime) -> None:
    """It is the organization's own."""
    await tx.execute(
        "update verified_domains set verified_by = %s, verified_at = %s where id = %s", (how, at, domain_id)
    )


async def remove_domain(tx: Tx, domain_id: UUID) -> None:
    """Nobody gets an account by it any more."""
    await tx.execute("delete from verified_domains where id = %s", (domain_id,))


async def user_by_email(tx: Tx, email: str) -> dict[str, Any] | None:
    """Who has the address here."""
    return await tx.one(
        "select id, disabled_at from users where organization_id = %s and lower(email) = %s",
        (tx.organization_id, email.lower()),
    )


async def add_user(tx: Tx, user_id: UUID, *, email: str, name: str, role: str) -> bool:
    """False when the address is taken."""
    added = await tx.execute(
        "insert into users (id, organization_id, email, name, role, email_verified_at) values (%s, %s, %s, %s, %s, %s) "
        "on conflict (organization_id, email) do nothing",
        (user_id, tx.organization_id, email.lower(), name, role, tx.clock.now()),
    )
    return added == 1


async def user_of_session(tx: Tx, session_id: UUID | None) -> UUID | None:
    """Whose it is, while it goes on and is not one that may only enrol."""
    row = await tx.one(
        "select s.user_id from sessions s join users u on u.id = s.user_id where s.id = %s and s.revoked_at is null "
        "and s.ends_at > %s and not s.restricted and u.disabled_at is null",
        (session_id, tx.clock.now()),
    )
    return row["user_id"] if row else None


async def has_way_in(tx: Tx, user_id: UUID) -> bool:
    """Whether a person has anything to sign in with."""
    row = await tx.one(
        "select 1 from users u where u.id = %s and (u.password_hash is not null "
        "or exists (select 1 from passkeys p where p.user_id = u.id) "
        "or exists (select 1 from identities i where i.user_id = u.id))",
        (user_id,),
    )
    return row is not None
