"""People can be disabled: their keys and sessions end with the commit that says so."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table users add column disabled_at timestamptz")
