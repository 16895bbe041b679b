"""Invitations say which teams somebody joins with them."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Nobody who was invited before joins a team by it."""
    op.execute("alter table invitations add column team_ids uuid[] not null default '{}'")


def downgrade() -> None:
    """The invitations stay, without their teams."""
    op.execute("alter table invitations drop column team_ids")
