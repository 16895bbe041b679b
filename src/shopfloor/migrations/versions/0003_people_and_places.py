"""Teams, custom roles, grants, service accounts; projects with an owner, a team and a reach of their own."""

from alembic import op

from shopfloor.migrations.rls import APP, protect, within_reach

revision = "0003"
down_revision = "0002"

_TABLES = """
alter table organizations add column slug text not null default 'o' || replace(gen_random_uuid()::text, '-', '');
alter table organizations add column operator boolean not null default false;
create unique index organizations_by_slug on organizations (slug);
create unique index organizations_one_operator on organizations (operator) where operator;
alter table organizations no force row level security;
update organizations set operator = true, slug = 'default'
  where id = (select id from organizations order by created_at, id limit 1);
alter table organizations force row level security;

alter table users drop constraint users_role_check;
alter table users add column kind text not null default 'person' check (kind in ('person', 'service'));
alter table users add column version integer not null default 1;
alter table users add column updated_at timestamptz not null default now();
alter table users add constraint users_in_organization unique (organization_id, id);

create table roles (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  name text not null,
  description text not null default '',
  base text,
  permissions text[] not null,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, name)
);

create table teams (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  slug text not null,
  name text not null,
  description text not null default '',
  role text not null default 'developer',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, slug),
  unique (organization_id, id)
);
create index teams_by_role on teams (organization_id, role);

create table team_members (
  organization_id uuid not null references organizations(id),
  team_id uuid not null,
  user_id uuid not null,
  team_role text not null default 'member' check (team_role in ('lead', 'member')),
  created_at timestamptz not null default now(),
  primary key (organization_id, team_id, user_id),
  foreign key (organization_id, team_id) references teams(organization_id, id) on delete cascade,
  foreign key (organization_id, user_id) references users(organization_id, id) on delete cascade
);
create index team_members_by_user on team_members (organization_id, user_id);

alter table projects add column owner_id uuid;
alter table projects add column team_id uuid;
alter table projects add column security_level text not null default 'standard'
  check (security_level in ('low', 'standard', 'high', 'critical'));
alter table projects add column classification text not null default 'internal'
  check (classification in ('public', 'internal', 'confidential', 'restricted'));
alter table projects add column compliance text[] not null default '{}';
alter table projects add column cost_centre text;
alter table projects add column visibility text not null default 'organization'
  check (visibility in ('organization', 'team', 'private'));
alter table projects add column email_domains text[] not null default '{}';
alter table projects add column ip_ranges text[] not null default '{}';
alter table projects add column guarded boolean not null
  generated always as (visibility <> 'organization' or email_domains <> '{}' or ip_ranges <> '{}') stored;
alter table projects add constraint projects_in_organization unique (organization_id, id);
alter table projects add constraint projects_owner
  foreign key (organization_id, owner_id) references users(organization_id, id);
alter table projects add constraint projects_team
  foreign key (organization_id, team_id) references teams(organization_id, id);
create index projects_by_owner on projects (organization_id, owner_id) where owner_id is not null;
create index projects_by_team on projects (organization_id, team_id) where team_id is not null;

create table project_grants (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  project_id uuid not null,
  user_id uuid,
  team_id uuid,
  role text not null,
  created_at timestamptz not null default now(),
  check (num_nonnulls(user_id, team_id) = 1),
  foreign key (organization_id, project_id) references projects(organization_id, id) on delete cascade,
  foreign key (organization_id, user_id) references users(organization_id, id) on delete cascade,
  foreign key (organization_id, team_id) references teams(organization_id, id) on delete cascade
);
create unique index project_grants_to_user on project_grants (organization_id, user_id, project_id)
  where user_id is not null;
create unique index project_grants_to_team on project_grants (organization_id, team_id, project_id)
  where team_id is not null;
create index project_grants_by_project on project_grants (organization_id, project_id, id);
create index project_grants_by_role on project_grants (organization_id, role);

create index users_by_organization on users (organization_id, id);
create index users_by_kind on users (organization_id, kind, id);
create index users_by_role on users (organization_id, role, id);
create index jobs_by_maker on jobs (organization_id, created_by, state)
"""

# Who may touch a project that not everybody may, from this address. Reads no table with a policy that asks it again.
_MAY_REACH = """
create function may_reach(
  place uuid, seen_by text, owner uuid, team uuid, domains text[], ranges text[]
) returns boolean language sql stable as $$
  select exists (
    select 1 from users u left join roles r on r.organization_id = u.organization_id and r.name = u.role
    where u.id = nullif(current_setting('app.user_id', true), '')::uuid
    and (
      seen_by = 'organization' or u.id = owner or u.role in ('owner', 'admin', 'auditor')
      or 'project.private' = any(r.permissions)
      or exists (select 1 from project_grants g where g.organization_id = u.organization_id
                 and g.project_id = place and g.user_id = u.id)
      or exists (select 1 from team_members m where m.organization_id = u.organization_id and m.user_id = u.id
                 and (seen_by = 'team' and m.team_id = team
                      or exists (select 1 from project_grants g where g.organization_id = u.organization_id
                                 and g.project_id = place and g.team_id = m.team_id)))
    )
    and (domains = '{}' or u.kind = 'service' or lower(split_part(u.email, '@', 2)) = any(domains))
    and (ranges = '{}' or exists (
      select 1 from unnest(ranges) as each where nullif(current_setting('app.address', true), '')::inet <<= each::inet
    ))
  )
$$
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    for table in ("roles", "teams", "team_members", "project_grants"):
        protect(table)
    op.execute(f"grant insert on organizations to {APP}")  # the operator makes others, each within its own bounds
    op.execute(_MAY_REACH)
    op.execute(
        f"create policy within_reach on projects as restrictive to {APP} using (not guarded "
        "or nullif(current_setting('app.user_id', true), '') is null "
        "or may_reach(id, visibility, owner_id, team_id, email_domains, ip_ranges))"
    )
    within_reach("jobs")
