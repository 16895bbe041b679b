"""The audit log: entries, what they say of people, the tree over them, checkpoints, keys. Rows are only added."""

from alembic import op

from shopfloor.migrations.rls import APP, SYSTEM, protect

revision = "0006"
down_revision = "0005"

# The leaf is the entry: every other column is taken from its text by the database, so that they can't differ from it.
_TABLES = """
create table audit_entries (
  id uuid primary key,
  organization_id uuid not null references organizations(id),
  leaf text not null check (octet_length(leaf) <= 16384),
  xid xid8 not null default pg_current_xact_id(),
  at text collate "C" not null generated always as (leaf::jsonb ->> 'at') stored,
  action text collate "C" not null generated always as (leaf::jsonb ->> 'action') stored,
  result text not null generated always as (leaf::jsonb ->> 'result') stored,
  actor_id uuid not null generated always as ((leaf::jsonb #>> '{actor,id}')::uuid) stored,
  user_id uuid generated always as ((leaf::jsonb #>> '{actor,user}')::uuid) stored,
  target_kind text not null generated always as (leaf::jsonb #>> '{target,kind}') stored,
  target_id text not null generated always as (leaf::jsonb #>> '{target,id}') stored,
  project_id uuid generated always as ((leaf::jsonb ->> 'project')::uuid) stored,
  request_id text not null generated always as (leaf::jsonb #>> '{origin,request}') stored,
  check (id::text = leaf::jsonb ->> 'id'),
  check (organization_id::text = leaf::jsonb ->> 'organization'),
  check (result in ('done', 'refused'))
);
create index audit_entries_newest on audit_entries (organization_id, id desc);
create index audit_entries_by_actor on audit_entries (organization_id, actor_id, id desc);
create index audit_entries_by_user on audit_entries (organization_id, user_id, id desc);
create index audit_entries_by_target on audit_entries (organization_id, target_id, id desc);
create index audit_entries_by_project on audit_entries (organization_id, project_id, id desc);
create index audit_entries_by_request on audit_entries (organization_id, request_id, id desc);
create index audit_entries_by_xid on audit_entries (xid);

create table audit_origins (
  entry_id uuid primary key references audit_entries(id),
  organization_id uuid not null references organizations(id),
  subject_id uuid not null,
  salt bytea not null,
  address text not null,
  agent text not null
);
create index audit_origins_by_subject on audit_origins (organization_id, subject_id);

create table audit_erasures (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references organizations(id),
  subject_id uuid not null,
  rows bigint not null,
  role text not null default session_user,
  at timestamptz not null default now()
);
create index audit_erasures_by_organization on audit_erasures (organization_id, id);

create table audit_nodes (
  organization_id uuid not null references organizations(id),
  level smallint not null,
  index bigint not null,
  hash bytea not null check (octet_length(hash) = 32),
  entry_id uuid unique references audit_entries(id),
  primary key (organization_id, level, index),
  check ((level = 0) = (entry_id is not null))
);

create table audit_checkpoints (
  organization_id uuid not null references organizations(id),
  size bigint not null check (size > 0),
  note text not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, size)
);

create table audit_keys (
  id uuid primary key,
  organization_id uuid not null unique references organizations(id),
  public_key bytea not null,
  sealed_key bytea not null,
  created_at timestamptz not null default now()
);
"""

_REFUSE = """
create function audit_refuse() returns trigger language plpgsql as $$
begin
  raise exception 'The audit log is append-only: % of % is refused.', tg_op, tg_table_name
    using errcode = 'insufficient_privilege';
end $$
"""

# Runs as the owner, the only one who may delete, and only what the function below allows itself.
_REFUSE_ORIGINS = """
create function audit_refuse_origins() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('app.audit_erasing', true) = old.subject_id::text
    and current_user = (select pg_get_userbyid(relowner) from pg_class where oid = tg_relid)
  then
    return old;
  end if;
  raise exception 'Origins are erased by audit_erase_origins() alone: % is refused.', tg_op
    using errcode = 'insufficient_privilege';
end $$
"""

_ERASE = """
create function audit_erase_origins(whose uuid, subject uuid) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare erased bigint;
begin
  perform set_config('app.audit_erasing', subject::text, true);
  delete from audit_origins where organization_id = whose and subject_id = subject;
  get diagnostics erased = row_count;
  perform set_config('app.audit_erasing', '', true);
  insert into audit_erasures (organization_id, subject_id, rows) values (whose, subject, erased);
  return erased;
end $$
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    protect("audit_entries", app="select, insert", system="select, insert")
    protect("audit_origins", app="select, insert", system="select, insert")
    protect("audit_erasures", app="select", system="select")
    protect("audit_nodes", app="select", system="select, insert")
    protect("audit_checkpoints", app="select", system="select, insert")
    protect("audit_keys", app="select, update (sealed_key)", system="select, insert")
    _append_only()
    _erasable()


def _append_only() -> None:
    """`enable always`: a session that plays replica can't pass either."""
    op.execute(_REFUSE)
    op.execute(_REFUSE_ORIGINS)
    for table in ("audit_entries", "audit_erasures", "audit_nodes", "audit_checkpoints", "audit_origins"):
        rows, function = ("update or delete", "audit_refuse")
        if table == "audit_origins":
            function = "audit_refuse_origins"
        op.execute(f"create trigger {table}_stay before {rows} on {table} for each row execute function {function}()")
        op.execute(f"create trigger {table}_whole before truncate on {table} execute function audit_refuse()")
        for trigger in (f"{table}_stay", f"{table}_whole"):
            op.execute(f"alter table {table} enable always trigger {trigger}")


def _erasable() -> None:
    """The owner passes row-level security for the one function that is his: FORCE binds him, too."""
    op.execute(_ERASE)
    op.execute("create policy by_owner on audit_origins to current_user using (true)")
    op.execute("create policy by_owner on audit_erasures for insert to current_user with check (true)")
    op.execute("revoke all on function audit_erase_origins(uuid, uuid) from public")
    op.execute(f"grant execute on function audit_erase_origins(uuid, uuid) to {SYSTEM}")
    op.execute(f"revoke all on audit_erasures, audit_nodes, audit_checkpoints from {APP}")
    op.execute(f"grant select on audit_erasures, audit_nodes, audit_checkpoints to {APP}")
