"""What was used: sums by day of every call the ledger booked; and prices by service tier and region."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0011"
down_revision = "0010"

_SUMS = """
  calls bigint not null default 0,
  cost_nanos bigint not null default 0,
  unknown_nanos bigint not null default 0,
  adjusted_nanos bigint not null default 0,
  input_tokens bigint not null default 0,
  cache_read_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  audio_tokens bigint not null default 0
"""

_TABLES = f"""
create table usage_daily (
  organization_id uuid not null references organizations(id),
  day date not null,
  project_id uuid not null references projects(id),
  team_id uuid,
  user_id uuid,
  agent text not null,
  provider text not null,
  model text not null,
  {_SUMS},
  constraint usage_daily_one unique nulls not distinct
    (organization_id, day, project_id, team_id, user_id, agent, provider, model)
);

create table usage_labels_daily (
  organization_id uuid not null references organizations(id),
  day date not null,
  project_id uuid not null references projects(id),
  name text not null,
  value text not null,
  {_SUMS},
  constraint usage_labels_daily_one unique (organization_id, name, day, project_id, value)
);

create index ledger_entries_by_time on ledger_entries (organization_id, at, id)
"""

_PRICES = """
alter table prices
  add column service_tier text not null default 'standard'
    check (service_tier in ('standard', 'batch', 'flex', 'priority')),
  add column region text;
create index prices_of_patterns on prices (organization_id, provider, valid_from desc, created_at desc)
  where position('*' in model) > 0
"""


def upgrade() -> None:
    for statement in (*_TABLES.split(";\n"), *_PRICES.split(";\n")):
        op.execute(statement)
    for table in ("usage_daily", "usage_labels_daily"):
        protect(table, app="select, insert, update, delete", system="select, insert, update")
        within_reach(table)
