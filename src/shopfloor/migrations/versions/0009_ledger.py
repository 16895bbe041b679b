"""Money: budgets and their periods, raises and alerts, and the ledger of every nano-dollar held, spent or corrected."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0009"
down_revision = "0008"

_TABLES = """
create table budgets (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  scope_type text not null check (scope_type in ('organization', 'team', 'project', 'user', 'agent')),
  scope_id text not null,
  project_id uuid references projects(id),
  period text not null check (period in ('day', 'week', 'month', 'total')),
  time_zone text not null,
  limit_nanos bigint not null check (limit_nanos >= 0),
  hard boolean not null,
  thresholds integer[] not null,
  auto_pause boolean not null,
  version integer not null default 1,
  created_by uuid not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  check ((scope_type = 'project') = (project_id is not null))
);
create unique index budgets_one on budgets (organization_id, scope_type, scope_id, period) where deleted_at is null;
create index budgets_by_organization on budgets (organization_id, id);

create table budget_raises (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  budget_id uuid not null references budgets(id),
  amount_nanos bigint not null check (amount_nanos > 0),
  reason text not null,
  created_by uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz
);
create index budget_raises_by_budget on budget_raises (organization_id, budget_id, id);
create index budget_raises_open on budget_raises (budget_id, expires_at) where ended_at is null;

create table budget_periods (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  budget_id uuid not null references budgets(id),
  starts_at timestamptz not null,
  ends_at timestamptz,
  spent_nanos bigint not null default 0 check (spent_nanos >= 0),
  held_nanos bigint not null default 0 check (held_nanos >= 0),
  unknown_nanos bigint not null default 0 check (unknown_nanos >= 0),
  calls bigint not null default 0,
  over_nanos bigint not null default 0 check (over_nanos >= 0),
  paused_at timestamptz,
  paused_because jsonb,
  wanted_at timestamptz,
  unique (budget_id, starts_at),
  check ((paused_at is null) = (paused_because is null))
);
create index budget_periods_by_budget on budget_periods (organization_id, budget_id, starts_at desc);

create index budget_periods_paused on budget_periods (id) where paused_at is not null;

create table budget_alerts (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  budget_id uuid not null references budgets(id),
  period_id uuid not null references budget_periods(id),
  threshold integer not null,
  spent_nanos bigint not null,
  limit_nanos bigint not null,
  created_at timestamptz not null default now(),
  unique (period_id, threshold)
);
create index budget_alerts_by_organization on budget_alerts (organization_id, id desc);
create index budget_alerts_by_budget on budget_alerts (organization_id, budget_id, id desc);

create table ledger_entries (
  id bigint generated always as identity primary key,
  organization_id uuid not null references organizations(id),
  hold_id uuid not null,
  job_id uuid not null,
  kind text not null check (kind in ('hold', 'release', 'spend', 'unknown', 'adjustment')),
  debit text not null check (debit in ('available', 'held', 'spent')),
  credit text not null check (credit in ('available', 'held', 'spent')),
  amount_nanos bigint not null check (amount_nanos >= 0),
  period_ids uuid[] not null,
  price_id uuid,
  reason text,
  at timestamptz not null default now(),
  check (debit <> credit)
);
create index ledger_entries_by_organization on ledger_entries (organization_id, id);
create index ledger_entries_by_job on ledger_entries (organization_id, job_id, id);
create index ledger_entries_by_hold on ledger_entries (hold_id)
"""

_HOLDS = """
alter table holds
  add column project_id uuid references projects(id),
  add column team_id uuid,
  add column user_id uuid,
  add column agent text,
  add column provider text,
  add column labels jsonb not null default '{}',
  add column price_id uuid,
  add column period_ids uuid[] not null default '{}'
"""
_JOBS = """
alter table jobs add column needs_nanos bigint, add column waiting_because jsonb;
alter table steps add column bills jsonb;
create index jobs_waiting_for_budget on jobs (organization_id, priority desc, id)
  where state = 'waiting' and waiting_reason = 'budget';
create index jobs_promised on jobs (organization_id) where needs_nanos is not null and state in ('queued', 'running')
"""


def upgrade() -> None:
    for statement in (*_TABLES.split(";\n"), _HOLDS, *_JOBS.split(";\n")):
        op.execute(statement)
    protect("budgets", app="select, insert, update", system="select")
    within_reach("budgets")
    protect("budget_raises", app="select, insert, update", system="select, update")
    protect("budget_periods", app="select, insert, update", system="select, update")
    protect("budget_alerts", app="select, insert", system="select, insert")
    protect("ledger_entries", app="select, insert", system="select, insert")
