"""How people sign in: passwords, sessions, refresh tokens, signing keys, one-time tokens, invitations, mail."""

from alembic import op

from shopfloor.migrations.rls import SYSTEM, protect

revision = "0004"
down_revision = "0003"

_TABLES = """
alter table users
  add column password_hash text,
  add column password_changed_at timestamptz,
  add column email_verified_at timestamptz,
  add column signed_in_at timestamptz;
create index users_by_email on users (lower(email), created_at);

alter table api_keys
  add column ip_ranges cidr[],
  add column previous_hash bytea,
  add column previous_until timestamptz,
  add column last_used_address text,
  add column rotated_at timestamptz,
  add constraint api_keys_previous check ((previous_hash is null) = (previous_until is null));

create table sessions (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id),
  kind text not null check (kind in ('browser', 'token')),
  secret_hash bytea not null unique,
  methods text[] not null,
  restricted boolean not null default false,
  address text not null default '',
  agent text not null default '',
  created_at timestamptz not null,
  signed_in_at timestamptz not null,
  last_seen_at timestamptz not null,
  idle_s integer not null check (idle_s > 0),
  ends_at timestamptz not null,
  revoked_at timestamptz,
  revoked_for text
);
create index sessions_by_user on sessions (organization_id, user_id, id);
create index sessions_old on sessions (ends_at);

create table refresh_tokens (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  session_id uuid not null references sessions(id) on delete cascade,
  token_hash bytea not null unique,
  created_at timestamptz not null,
  used_at timestamptz
);
create index refresh_tokens_by_session on refresh_tokens (organization_id, session_id, id);

create table signing_keys (
  kid uuid primary key,
  organization_id uuid not null references organizations(id),
  state text not null check (state in ('next', 'active', 'retired')),
  public_key bytea not null,
  sealed_key bytea,
  created_at timestamptz not null,
  retired_at timestamptz,
  check ((state = 'retired') = (retired_at is not null)),
  check ((state = 'retired') = (sealed_key is null))
);
create unique index signing_keys_one_active on signing_keys (state) where state = 'active';

create table one_time_tokens (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id),
  purpose text not null check (purpose in ('setup', 'reset', 'verify', 'second-factor', 'ticket')),
  token_hash bytea not null unique,
  data jsonb not null default '{}',
  tries_left integer not null default 1 check (tries_left >= 0),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index one_time_tokens_by_user on one_time_tokens (organization_id, user_id, purpose);
create index one_time_tokens_old on one_time_tokens (expires_at);

create table invitations (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  email text not null,
  role text not null,
  mailed boolean not null default false,
  invited_by uuid not null references users(id),
  token_hash bytea not null unique,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  accepted_at timestamptz,
  withdrawn_at timestamptz,
  user_id uuid references users(id)
);
create index invitations_by_organization on invitations (organization_id, id);

create table mails (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  kind text not null,
  sealed bytea,
  created_at timestamptz not null,
  sent_at timestamptz,
  check ((sealed is null) = (sent_at is not null))
);
create index mails_by_organization on mails (organization_id, id);

create table sign_in_attempts (
  who bytea primary key,
  organization_id uuid not null references organizations(id),
  failures integer not null,
  last_at timestamptz not null,
  blocked_until timestamptz
);
create index sign_in_attempts_old on sign_in_attempts (last_at);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    op.execute(f"grant update (signed_in_at, password_hash) on users to {SYSTEM}")
    op.execute(f"grant update (last_used_address) on api_keys to {SYSTEM}")
    protect("sessions", system="select, update (last_seen_at, revoked_at, revoked_for), delete")
    protect("refresh_tokens", system="select, delete")
    protect("signing_keys", app="select, update (sealed_key)", system="select, insert, update, delete")
    protect("one_time_tokens", system="select, insert, update, delete")
    protect("invitations", app="select, insert, update", system="select")
    protect("mails", app="select, insert, update", system="select, update, delete")
    protect("sign_in_attempts", app="select", system="select, insert, update, delete")
