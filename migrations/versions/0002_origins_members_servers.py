"""What a picture was made from; members' wishes, servers' settings, blocks, reports, messages to delete."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _widen_jobs()
    op.add_column("members", sa.Column("ping", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_table(
        "guild_settings",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("remix_others", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name="pk_guild_settings"),
    )
    op.create_table(
        "studio_channels",
        sa.Column("channel_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel_id", name="pk_studio_channels"),
    )
    op.create_index("ix_studio_channels_guild_id", "studio_channels", ["guild_id"])
    op.create_table(
        "blocks",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("member_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("by_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "member_id", name="pk_blocks"),
    )
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reporter_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=True),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(20), nullable=True),
        sa.Column("member_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
    )
    op.create_table(
        "doomed_messages",
        sa.Column("channel_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "message_id", name="pk_doomed_messages"),
    )


def _widen_jobs() -> None:
    with op.batch_alter_table("jobs") as jobs:  # SQLite can add a foreign key only to a copy of the table
        jobs.add_column(sa.Column("origin_job_id", sa.String(20), nullable=True))
        jobs.add_column(sa.Column("origin_index", sa.Integer(), nullable=True))
        jobs.add_column(sa.Column("origin_guild_id", sa.BigInteger(), nullable=True))
        jobs.add_column(sa.Column("origin_channel_id", sa.BigInteger(), nullable=True))
        jobs.add_column(sa.Column("origin_message_id", sa.BigInteger(), nullable=True))
        jobs.add_column(sa.Column("foreign_start", sa.Boolean(), server_default=sa.false(), nullable=False))
        jobs.add_column(sa.Column("redraw", sa.Text(), nullable=True))
        jobs.add_column(sa.Column("recipe", sa.Text(), nullable=True))
        jobs.add_column(sa.Column("file_limit", sa.BigInteger(), nullable=True))
        jobs.create_foreign_key("fk_jobs_origin_job_id_jobs", "jobs", ["origin_job_id"], ["id"], ondelete="SET NULL")
        jobs.create_index("ix_jobs_origin_job_id", ["origin_job_id"])
        jobs.create_index("ix_jobs_message_id", ["message_id"])
    op.create_index("ix_images_message_id", "images", ["message_id"])
    # Every job of before with a start image began with somebody's own picture.
    start = "CASE WHEN json_valid(request) THEN json_extract(request, '$.init_image') END"  # one may be unreadable
    op.execute(f"UPDATE jobs SET foreign_start = 1 WHERE {start} IS NOT NULL")  # noqa: S608  (nobody's words)
