"""Index the run, without holding up those who write meanwhile."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = "ix_workouts_run"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # an attempt that was cut off leaves an invalid index behind
        op.drop_index(NAME, "workouts", if_exists=True, postgresql_concurrently=True)
        op.create_index(NAME, "workouts", ["run"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(NAME, "workouts", postgresql_concurrently=True)
