"""Where work goes: environments, releases and sprints of projects, and the jobs that belong to them."""

from alembic import op

from shopfloor.migrations.rls import protect, within_reach

revision = "0008"
down_revision = "0007"

_RECORD = """
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid not null,
  name text not null,
  {own},
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, project_id, name),
  foreign key (organization_id, project_id) references projects(organization_id, id) on delete cascade
"""
_OWN = {
    "environments": "kind text not null check (kind in ('dev', 'staging', 'production')), protected boolean not null",
    "releases": "status text not null check (status in ('planned', 'released', 'withdrawn')), notes text not null",
    "sprints": "goal text not null, starts date not null, ends date not null, check (starts <= ends)",
}
_TIED = """
create table {one}_jobs (
  organization_id uuid not null references organizations(id),
  project_id uuid not null,
  {one}_id uuid not null,
  job_id uuid not null references jobs(id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (organization_id, {one}_id, job_id),
  foreign key (organization_id, {one}_id) references {one}s(organization_id, id) on delete cascade
)
"""


def upgrade() -> None:
    for table, own in _OWN.items():
        op.execute(f"create table {table} ({_RECORD.format(own=own)})")
        op.execute(f"create index {table}_by_organization on {table} (organization_id, id)")
        op.execute(f"create index {table}_by_project on {table} (organization_id, project_id, id)")
        one = table.removesuffix("s")
        op.execute(_TIED.format(one=one))
        op.execute(f"create index {one}_jobs_by_job on {one}_jobs (job_id)")
        for each in (table, f"{one}_jobs"):
            protect(each)
            within_reach(each)
