"""Data keys, each wrapped under a master key; secrets by name."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0007"
down_revision = "0006"

_TABLES = """
create table data_keys (
  id uuid primary key,
  organization_id uuid references organizations(id),
  purpose text not null,
  master_key_id text not null,
  wrapped bytea not null,
  state text not null default 'active' check (state in ('active', 'retired')),
  created_at timestamptz not null default now(),
  rewrapped_at timestamptz,
  retired_at timestamptz,
  check ((state = 'retired') = (retired_at is not null))
);
create unique index data_keys_active on data_keys (organization_id, purpose) nulls not distinct
  where state = 'active';
create index data_keys_by_organization on data_keys (organization_id, id);

create table secrets (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid references projects(id),
  name text not null,
  kind text not null check (kind in ('generic', 'git')),
  host text,
  username text,
  sealed_value bytea not null,
  version integer not null default 1,
  created_by uuid not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_used_at timestamptz,
  check ((kind = 'git') = (host is not null))
);
create unique index secrets_by_name on secrets (organization_id, project_id, name) nulls not distinct;
create unique index secrets_by_host on secrets (organization_id, project_id, host) nulls not distinct
  where kind = 'git';
create index secrets_by_organization on secrets (organization_id, id);
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    # A row without an organization is the installation's own: no organization sees it, the system does.
    protect("data_keys", app="select, insert, update, delete", system="select, insert, update, delete")
    protect("secrets")
    within_reach("secrets")
