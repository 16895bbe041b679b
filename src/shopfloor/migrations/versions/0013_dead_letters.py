"""Dead letters: jobs and tasks that were given up, why, and what became of them; what went wrong in each attempt."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0013"
down_revision = "0012"

_TABLES = """
create table dead_letters (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid references projects(id),
  kind text not null check (kind in ('job', 'task')),
  task text not null,
  queue text not null,
  job_id uuid references jobs(id),
  task_id bigint unique,
  reason jsonb not null,
  history jsonb not null,
  attempts integer not null,
  payload jsonb not null,
  struck_out boolean not null default false,
  state text not null default 'open' check (state in ('open', 'requeued', 'discarded')),
  requeued_as text,
  settled_by uuid,
  settled_at timestamptz,
  discard_reason text,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  check ((kind = 'task') = (task_id is not null)),
  check (kind = 'task' or job_id is not null),
  check ((state = 'open') = (settled_at is null)),
  check ((state = 'requeued') = (requeued_as is not null)),
  check ((state = 'discarded') = (discard_reason is not null))
);
create unique index dead_letters_of_job on dead_letters (job_id) where kind = 'job';
create index dead_letters_by_organization on dead_letters (organization_id, id desc);
create index dead_letters_open on dead_letters (organization_id, id desc) where state = 'open';

create table task_failures (
  organization_id uuid references organizations(id),
  task_id bigint not null,
  attempt integer not null,
  worker text not null,
  error jsonb not null,
  at timestamptz not null default now(),
  primary key (task_id, attempt)
);
create index jobs_dead on jobs (id) where state = 'dead';
create index procrastinate_jobs_over on procrastinate_jobs (id) where status in ('failed', 'aborted', 'cancelled')
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    protect("dead_letters", app="select, update", system="select, insert")
    within_reach("dead_letters")
    protect("task_failures", app="select", system="select, insert, delete")
