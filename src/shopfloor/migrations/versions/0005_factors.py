"""Second factors and single sign-on: one-time codes, passkeys, recovery codes, sign-in policies, identity providers."""

from alembic import op

from shopfloor.migrations.rls import protect

revision = "0005"
down_revision = "0004"

_TABLES = """
create table totp_secrets (
  user_id uuid primary key references users(id),
  organization_id uuid not null references organizations(id),
  sealed_secret bytea not null,
  last_step bigint not null default 0,
  created_at timestamptz not null default now(),
  confirmed_at timestamptz
);
create index totp_secrets_by_organization on totp_secrets (organization_id, user_id);

create table recovery_codes (
  code_hash bytea primary key,
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id),
  created_at timestamptz not null default now(),
  used_at timestamptz
);
create index recovery_codes_by_user on recovery_codes (organization_id, user_id);

create table passkeys (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id),
  name text not null,
  credential_id bytea not null unique,
  public_key bytea not null,
  sign_count bigint not null,
  aaguid text not null,
  backed_up boolean not null,
  transports text[] not null default '{}',
  created_at timestamptz not null default now(),
  last_used_at timestamptz
);
create index passkeys_by_user on passkeys (organization_id, user_id, id);

create table used_challenges (
  challenge_hash bytea primary key,
  organization_id uuid not null references organizations(id),
  ends_at timestamptz not null
);
create index used_challenges_old on used_challenges (organization_id, ends_at);

create table factor_attempts (
  user_id uuid primary key references users(id),
  organization_id uuid not null references organizations(id),
  failures integer not null default 0,
  blocked_until timestamptz
);
create index factor_attempts_by_organization on factor_attempts (organization_id, user_id);

create table sign_in_policies (
  organization_id uuid primary key references organizations(id),
  mfa_required boolean not null default false,
  mfa_required_since timestamptz,
  mfa_grace_days integer not null default 0 check (mfa_grace_days between 0 and 90),
  password_allowed boolean not null default true,
  link_by_verified_domain boolean not null default false,
  session_idle_s integer check (session_idle_s > 0),
  session_absolute_s integer check (session_absolute_s > 0),
  version integer not null default 1,
  updated_at timestamptz not null default now(),
  check (mfa_required = (mfa_required_since is not null))
);

create table identity_providers (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  name text not null,
  issuer text not null,
  client_id text not null,
  sealed_secret bytea,
  scopes text[] not null,
  default_role text not null check (default_role in ('admin', 'manager', 'developer', 'viewer', 'auditor')),
  makes_accounts boolean not null default false,
  counts_as_second_factor boolean not null default false,
  enabled boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, name)
);

create table identities (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id),
  provider_id uuid not null references identity_providers(id) on delete cascade,
  issuer text not null,
  subject text not null,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  unique (organization_id, provider_id, issuer, subject)
);
create index identities_by_user on identities (organization_id, user_id, id);

create table verified_domains (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  domain text not null,
  token text not null,
  verified_by text check (verified_by in ('dns', 'operator')),
  verified_at timestamptz,
  created_at timestamptz not null default now(),
  unique (organization_id, domain),
  check ((verified_by is null) = (verified_at is null))
);

create table oidc_flows (
  state_hash bytea primary key,
  organization_id uuid not null references organizations(id),
  provider_id uuid not null references identity_providers(id) on delete cascade,
  browser_hash bytea not null,
  return_to text not null,
  link_session_id uuid,
  ends_at timestamptz not null
);
create index oidc_flows_old on oidc_flows (organization_id, ends_at);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    protect("totp_secrets")
    protect("recovery_codes")
    protect("passkeys")
    protect("used_challenges")
    protect("factor_attempts")
    protect("sign_in_policies", app="select, insert, update")
    protect("identity_providers")
    protect("identities")
    protect("verified_domains")
    protect("oidc_flows")
