"""Whose picture a job starts from, and what mentioned its member: both go when a member is forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("start_member_id", sa.BigInteger(), nullable=True))
    op.add_column("jobs", sa.Column("mention_id", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE jobs SET start_member_id = "
        "(SELECT origin.member_id FROM jobs AS origin WHERE origin.id = jobs.origin_job_id)"
    )
