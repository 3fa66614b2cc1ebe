"""Concepts: who has which, its files, and where it is shared; jobs that train one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("of_person", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("jobs", sa.Column("training", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("consent", sa.String(20), nullable=True))
    op.create_table(
        "concepts",
        sa.Column("id", sa.String(20), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("depicts", sa.String(10), nullable=False),
        sa.Column("consent", sa.String(20), nullable=False),
        sa.Column("consented_at", sa.DateTime(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["members.id"], name="fk_concepts_owner_id_members", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_concepts"),
        sa.UniqueConstraint("owner_id", "name", name="uq_concepts_owner_id_name"),
    )
    op.create_table(
        "concept_versions",
        sa.Column("id", sa.String(20), nullable=False),
        sa.Column("concept_id", sa.String(20), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(20), nullable=False),
        sa.Column("class_word", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("model_hash", sa.String(64), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("trained", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concepts.id"], name="fk_concept_versions_concept_id_concepts", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_concept_versions"),
    )
    op.create_index("ix_concept_versions_concept_id", "concept_versions", ["concept_id"])
    op.create_index("ix_concept_versions_sha256", "concept_versions", ["sha256"])
    op.create_table(
        "concept_shares",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("concept_id", sa.String(20), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concepts.id"], name="fk_concept_shares_concept_id_concepts", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("guild_id", "concept_id", name="pk_concept_shares"),
    )
    op.create_table(
        "concept_takedowns",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("concept_id", sa.String(20), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concepts.id"], name="fk_concept_takedowns_concept_id_concepts", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("guild_id", "concept_id", name="pk_concept_takedowns"),
    )
