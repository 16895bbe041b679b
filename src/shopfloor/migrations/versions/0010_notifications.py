"""Budgets that count what was spent before they were made."""

from alembic import op

revision = "0010"
down_revision = "0009"

_BUDGETS = """
alter table budget_periods
  add column carried_nanos bigint not null default 0 check (carried_nanos >= 0);
create index holds_by_organization on holds (organization_id, held_at)
"""


def upgrade() -> None:
    for statement in _BUDGETS.split(";\n"):
        op.execute(statement)
