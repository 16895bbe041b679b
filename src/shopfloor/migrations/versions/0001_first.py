"""The first tables: organizations, people, projects, keys, providers, prices, jobs and their journal; the queue."""

from alembic import op
from procrastinate.schema import SchemaManager

from shopfloor.migrations.rls import APP, SYSTEM, make_roles, protect

revision = "0001"
down_revision = None

_TABLES = """
create table organizations (
  id uuid primary key,
  organization_id uuid not null generated always as (id) stored,
  name text not null,
  max_running_jobs integer not null default 20 check (max_running_jobs > 0),
  version integer not null default 1,
  created_at timestamptz not null default now()
);

create table users (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  email text not null,
  name text not null,
  role text not null check (role in ('owner', 'admin', 'manager', 'developer', 'viewer', 'auditor')),
  created_at timestamptz not null default now(),
  unique (organization_id, email)
);

create table projects (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  slug text not null,
  name text not null,
  status text not null default 'active' check (status in ('active', 'paused', 'completed', 'archived')),
  priority integer not null default 0,
  max_running_jobs integer not null default 10 check (max_running_jobs > 0),
  settings jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, slug)
);
create index projects_by_organization on projects (organization_id, id);

create table api_keys (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  user_id uuid not null references users(id),
  name text not null,
  public_id text not null unique,
  secret_hash bytea not null,
  permissions text[] not null,
  project_ids uuid[],
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);
create index api_keys_by_organization on api_keys (organization_id, id);

create table providers (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  name text not null,
  kind text not null,
  base_url text,
  region text,
  sealed_key bytea,
  models jsonb not null default '[]',
  origin text not null default 'api' check (origin in ('api', 'environment')),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, name)
);

create table prices (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  provider text not null,
  model text not null,
  picos jsonb not null,
  tiers jsonb not null default '[]',
  valid_from timestamptz not null,
  source text not null,
  created_at timestamptz not null default now()
);
create index prices_by_organization on prices (organization_id, id);
create index prices_in_force on prices (organization_id, provider, model, valid_from desc, created_at desc);

create table jobs (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid not null references projects(id),
  agent text not null,
  task text not null,
  repo_url text,
  repo_ref text,
  model text not null,
  checks text[],
  limits jsonb not null,
  network text[] not null default '{}',
  labels jsonb not null default '{}',
  environment jsonb not null default '{}',
  priority integer not null default 0,
  mode text not null default 'run' check (mode in ('run', 'replay')),
  parent_id uuid references jobs(id),
  fork_turn integer,
  state text not null default 'queued'
    check (state in ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'dead')),
  waiting_reason text check (waiting_reason in ('budget', 'provider', 'approval', 'dependency')),
  admitted_at timestamptz,
  not_before timestamptz,
  cancel_requested_at timestamptz,
  ending text,
  verified boolean,
  error jsonb,
  output jsonb,
  baseline jsonb,
  check_results jsonb,
  context_tokens integer,
  base_commit text,
  base_bundle text,
  result_commit text,
  changes jsonb,
  patch_digest text,
  push_branch text,
  pushed jsonb,
  cost_nanos bigint not null default 0 check (cost_nanos >= 0),
  held_nanos bigint not null default 0 check (held_nanos >= 0),
  unknown_nanos bigint not null default 0 check (unknown_nanos >= 0),
  usage jsonb not null default '{}',
  turns integer not null default 0,
  runs integer not null default 0,
  crashes integer not null default 0,
  failures integer not null default 0,
  spent_s double precision not null default 0,
  last_seq bigint not null default 0,
  version integer not null default 1,
  created_by uuid not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  check ((state = 'waiting') = (waiting_reason is not null)),
  check ((state in ('succeeded', 'failed', 'cancelled', 'dead')) = (finished_at is not null))
);
create index jobs_newest on jobs (organization_id, id desc);
create index jobs_by_state on jobs (organization_id, state, id);
create index jobs_by_project on jobs (organization_id, project_id, id);
create index jobs_by_project_and_state on jobs (organization_id, project_id, state, id);
create index jobs_by_parent on jobs (organization_id, parent_id, id desc) where parent_id is not null;
create index jobs_to_admit on jobs (project_id, priority desc, id) where state = 'queued' and admitted_at is null;
create index jobs_active on jobs (organization_id, project_id)
  where state = 'running' or (state = 'queued' and admitted_at is not null);
create index jobs_open on jobs (state) where state in ('queued', 'running', 'waiting');
create index jobs_waiting on jobs (not_before) where state = 'waiting';

create table runs (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  job_id uuid not null references jobs(id),
  fence integer not null,
  worker text not null,
  state text not null default 'running' check (state in ('running', 'ended', 'lost')),
  claimed_at timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  ended_at timestamptz,
  ending text,
  error jsonb,
  isolation jsonb,
  unique (job_id, fence)
);
create unique index runs_one_live on runs (job_id) where state = 'running';
create index runs_live on runs (heartbeat_at) where state = 'running';
create index runs_by_job on runs (organization_id, job_id, fence);

create table steps (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  job_id uuid not null references jobs(id),
  run_id uuid references runs(id),
  scope text not null default '',
  turn integer not null,
  kind text not null check (kind in ('model', 'tool')),
  key text not null default '',
  name text not null,
  state text not null check (state in ('intended', 'done', 'unknown')),
  attempt integer not null default 1,
  request jsonb not null default '{}',
  result jsonb,
  effects text not null default 'none',
  snapshot_sha text,
  snapshot_digest text,
  usage jsonb,
  cost_nanos bigint not null default 0,
  intended_at timestamptz not null default now(),
  done_at timestamptz,
  done_seq bigint,
  unique (job_id, scope, turn, kind, key),
  check ((state = 'done') = (result is not null))
);
create index steps_by_job on steps (organization_id, job_id, id);

create table holds (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  job_id uuid not null references jobs(id),
  run_id uuid not null references runs(id),
  scope text not null,
  turn integer not null,
  attempt integer not null,
  model text not null,
  state text not null check (state in ('held', 'settled', 'released', 'unknown')),
  bound_nanos bigint not null check (bound_nanos >= 0),
  cost_nanos bigint not null default 0 check (cost_nanos >= 0),
  usage jsonb,
  reason text,
  held_at timestamptz not null default now(),
  ended_at timestamptz
);
create index holds_by_job on holds (organization_id, job_id, id);
create index holds_open on holds (job_id) where state = 'held';

create table events (
  organization_id uuid not null references organizations(id),
  job_id uuid not null references jobs(id),
  seq bigint not null,
  kind text not null,
  data jsonb not null,
  batch uuid,
  at timestamptz not null default now(),
  primary key (job_id, seq)
);
create index events_by_organization on events (organization_id, job_id, seq);

create table artifacts (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  job_id uuid not null references jobs(id),
  run_id uuid,
  name text not null,
  media_type text not null,
  digest text not null,
  size_bytes bigint not null,
  created_at timestamptz not null default now()
);
create index artifacts_by_job on artifacts (organization_id, job_id, id);

create table idempotency_keys (
  organization_id uuid not null references organizations(id),
  principal_id uuid not null,
  route text not null,
  key text not null,
  request_digest bytea not null,
  status integer not null,
  body jsonb not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, principal_id, route, key)
);
create index idempotency_keys_old on idempotency_keys (created_at);
"""


def upgrade() -> None:
    make_roles()
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    protect("organizations", app="select, update", system="select, insert")
    protect("users", system="select, insert")
    protect("projects", system="select, insert")
    protect("api_keys", app="select, insert, update", system="select, insert, update (last_used_at)")
    protect("providers")
    protect("prices", app="select, insert")
    protect("jobs", app="select, insert, update", system="select, update")
    protect("runs", app="select, insert, update", system="select, update")
    protect("steps", app="select, insert, update", system="select, update")
    protect("holds", app="select, insert, update", system="select, update")
    protect("events", app="select, insert", system="select, insert")
    protect("artifacts")
    protect("idempotency_keys", app="select, insert, delete", system="select, delete")
    _queue()
    for role in (APP, SYSTEM):
        op.execute(f"grant select on alembic_version to {role}")


def _queue() -> None:
    """Procrastinate's own tables. Their rows hold ids only; the application may add to them, the system works them."""
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(SchemaManager.get_schema())  # many statements at once, and per cent signs: past SQLAlchemy
    tables = "procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers, procrastinate_workers"
    op.execute(f"grant select, insert, update, delete on {tables} to {SYSTEM}")
    op.execute(f"grant select, insert on procrastinate_jobs, procrastinate_events to {APP}")
    for sequence in ("jobs", "events", "periodic_defers", "workers"):
        op.execute(
            f"do $$ declare name text := pg_get_serial_sequence('procrastinate_{sequence}', 'id'); begin "
            f"if name is not null then execute format('grant usage on sequence %s to {APP}, {SYSTEM}', name); "
            "end if; end $$"
        )
