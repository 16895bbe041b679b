"""Approvals: what a job may only do once a person has said yes, and what they said."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0015"
down_revision = "0009"

_APPROVALS = """
create table approvals (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid not null references projects(id),
  job_id uuid not null references jobs(id),
  run_id uuid not null references runs(id),
  kind text not null check (kind in ('tool', 'push')),
  scope text not null,
  turn integer not null,
  key text not null,
  tool text not null,
  arguments jsonb not null,
  digest bytea not null,
  summary text not null,
  state text not null default 'pending'
    check (state in ('pending', 'approved', 'rejected', 'expired', 'withdrawn')),
  remember boolean not null default false,
  reason text,
  decided_by uuid,
  decided_by_name text,
  decided_at timestamptz,
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  unique (job_id, kind, scope, turn, key),
  check ((state = 'pending') = (decided_at is null))
)
"""


def upgrade() -> None:
    op.execute("alter table jobs add column approvals jsonb not null default '{}'")
    op.execute(_APPROVALS)
    op.execute("create index approvals_by_organization on approvals (organization_id, id desc)")
    op.execute("create index approvals_by_state on approvals (organization_id, state, id desc)")
    op.execute("create index approvals_by_job on approvals (organization_id, job_id, id desc)")
    op.execute("create index approvals_due on approvals (expires_at) where state = 'pending'")
    protect("approvals", app="select, insert, update", system="select")
    within_reach("approvals")
