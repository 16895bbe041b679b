"""Channels, what is told over them, and where it arrived; budgets that count what was spent before they were made."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0010"
down_revision = "0009"

_BUDGETS = """
alter table budget_periods add column carried_nanos bigint not null default 0;
create index holds_by_organization on holds (organization_id, held_at);
alter table organizations add column time_zone text not null default 'UTC'
"""
# A project without jobs may be deleted, and its budgets, that nothing was spent of, with it.
_CASCADES = {
    "budgets": ("project_id", "projects"),
    "budget_raises": ("budget_id", "budgets"),
    "budget_periods": ("budget_id", "budgets"),
    "budget_alerts": ("budget_id", "budgets"),
}
_TABLES = """
create table notification_channels (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  kind text not null check (kind in ('email', 'webhook')),
  address text not null,
  sealed_secret bytea,
  events text[] not null,
  summaries text check (summaries in ('daily', 'weekly')),
  next_summary_at timestamptz,
  disabled_at timestamptz,
  disabled_because text,
  version integer not null default 1,
  created_by uuid not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, kind, address),
  check ((kind = 'webhook') = (sealed_secret is not null)),
  check (summaries is null or kind = 'email'),
  check ((summaries is null) = (next_summary_at is null)),
  check ((disabled_at is null) = (disabled_because is null))
);
create index notification_channels_by_organization on notification_channels (organization_id, id);
create index notification_channels_due on notification_channels (next_summary_at) where next_summary_at is not null;

create table notifications (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid references projects(id) on delete cascade,
  channel_id uuid references notification_channels(id) on delete cascade,
  kind text not null,
  key text not null,
  title text not null,
  body text not null,
  html text,
  data jsonb not null,
  created_at timestamptz not null default now(),
  unique (organization_id, key)
);
create index notifications_by_organization on notifications (organization_id, id desc) where channel_id is null;
create index notifications_old on notifications (created_at);

create table notification_reads (
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id) on delete cascade,
  notification_id uuid not null references notifications(id) on delete cascade,
  read_at timestamptz not null,
  primary key (user_id, notification_id)
);
create index notification_reads_by_notification on notification_reads (notification_id);

create table notification_deliveries (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  notification_id uuid not null references notifications(id) on delete cascade,
  channel_id uuid not null references notification_channels(id) on delete cascade,
  state text not null check (state in ('pending', 'retrying', 'delivered', 'failed')),
  attempts integer not null default 0,
  last_status integer,
  last_error text,
  last_excerpt text,
  created_at timestamptz not null default now(),
  attempted_at timestamptz,
  delivered_at timestamptz,
  unique (channel_id, notification_id)
);
create index notification_deliveries_by_channel on notification_deliveries (organization_id, channel_id, id desc);
create index notification_deliveries_by_notification on notification_deliveries (notification_id)
"""


def upgrade() -> None:
    for statement in (*_BUDGETS.split(";\n"), *_TABLES.split(";\n")):
        op.execute(statement)
    for table, (column, above) in _CASCADES.items():
        name = f"{table}_{column}_fkey"
        op.execute(
            f"alter table {table} drop constraint {name}, "
            f"add constraint {name} foreign key ({column}) references {above}(id) on delete cascade"
        )
    protect("notification_channels", system="select")
    protect("notifications", app="select, insert", system="select, delete")
    within_reach("notifications")
    protect("notification_reads", app="select, insert, delete", system="select")
    protect("notification_deliveries", app="select, insert, update", system="select")
