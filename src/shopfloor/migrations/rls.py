"""Row-level security: what every table of ours gets in the migration that makes it."""

from __future__ import annotations

from alembic import op

APP = "shopfloor_app"
SYSTEM = "shopfloor_system"


def make_roles() -> None:
    """The two roles the application connects as: neither owns a table, neither passes row-level security."""
    for role in (APP, SYSTEM):
        op.execute(
            f"do $$ begin if not exists (select from pg_roles where rolname = '{role}') then "
            f"create role {role} login nosuperuser nobypassrls nocreatedb nocreaterole; end if; "
            "exception when duplicate_object or unique_violation then null; end $$"
        )


def protect(table: str, *, app: str = "select, insert, update, delete", system: str = "select") -> None:
    """Bind a table to its `organization_id`, FORCE included, and grant what each role needs.

    `system` sees every organization: only what admission, rescue, retention and sign-in need is granted.
    """
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")
    mine = "organization_id = nullif(current_setting('app.organization_id', true), '')::uuid"
    op.execute(f"create policy own_organization on {table} to {APP} using ({mine}) with check ({mine})")
    op.execute(f"create policy every_organization on {table} to {SYSTEM} using (true) with check (true)")
    op.execute(f"grant {app} on {table} to {APP}")
    op.execute(f"grant {system} on {table} to {SYSTEM}")


def within_reach(table: str, column: str = "project_id") -> None:
    """Bind a table's rows to what its person may touch of projects: visibility, e-mail domains, addresses.

    Each table with a `project_id` that people read gets this after `protect`; a worker has no person and passes.
    """
    # Not `exists`: the planner would hash every project of the organization to read one job.
    op.execute(
        f"create policy within_reach on {table} as restrictive to {APP} using ("
        f"{column} is null or nullif(current_setting('app.user_id', true), '') is null "
        f"or (select true from projects where projects.id = {table}.{column}))"
    )
