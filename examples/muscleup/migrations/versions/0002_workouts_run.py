"""Add the run a workout belongs to; a default, so that the release before this one can go on inserting."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workouts", sa.Column("run", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("workouts", "run")
