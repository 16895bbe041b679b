"""Outages: breakers and limits of providers, and what a parked job waits for."""

from alembic import op

from shopfloor.migrations.rls import protect

revision = "0012"
down_revision = "0011"

_TABLES = """
create table provider_breakers (
  organization_id uuid not null references organizations(id),
  provider_id uuid not null references providers(id) on delete cascade,
  model text not null,
  credential text not null,
  ref text not null,
  half_started_at timestamptz not null default now(),
  calls integer not null default 0,
  failures integer not null default 0,
  calls_before integer not null default 0,
  failures_before integer not null default 0,
  openings integer not null default 0,
  opened_at timestamptz,
  open_until timestamptz,
  probe_until timestamptz,
  closed_at timestamptz,
  woken integer not null default 0,
  woken_at timestamptz,
  last_error jsonb,
  last_failure_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (organization_id, provider_id, model, credential)
);
create index provider_breakers_not_closed on provider_breakers (organization_id, ref) where open_until is not null;
create index provider_breakers_by_ref on provider_breakers (organization_id, ref);

create table provider_calls (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  provider_id uuid not null references providers(id) on delete cascade,
  tokens bigint not null,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  expires_at timestamptz not null
);
create index provider_calls_by_provider on provider_calls (organization_id, provider_id, started_at);

alter table providers add column limits jsonb not null default '{}';

alter table jobs
  add column waiting_on text[],
  add column parked_at timestamptz,
  add column patience_ends_at timestamptz;

create index jobs_waiting_for_provider on jobs (project_id, id)
  where state = 'waiting' and waiting_reason = 'provider'
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    protect("provider_breakers", app="select, insert, update, delete", system="select, update")
    protect("provider_calls", app="select, insert, update, delete", system="select")
