"""The tables, as SQLAlchemy models. A change here needs a migration: a test compares both."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime, TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC; SQLite itself keeps no time zone. A naive one is refused."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    """Every constraint has a name, so that later migrations can drop it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class MemberRow(Table):
    __tablename__ = "members"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    ping: Mapped[bool] = mapped_column(server_default=true())
    """Whether a job that took long ends with a mention of its member."""


class JobRow(Table):
    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'done', 'delivered', 'failed', 'cancelled')", name="state"),
        Index(None, "state", "delivered_at"),
        Index(None, "member_id", "state"),
        Index(None, "origin_job_id"),
        Index(None, "message_id"),
    )

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"))
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    interaction_id: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10))
    attempt: Mapped[int]
    crashes: Mapped[int]
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    image_count: Mapped[int]
    request: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    origin_job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    origin_index: Mapped[int | None]
    origin_guild_id: Mapped[int | None] = mapped_column(BigInteger)
    origin_channel_id: Mapped[int | None] = mapped_column(BigInteger)
    origin_message_id: Mapped[int | None] = mapped_column(BigInteger)
    foreign_start: Mapped[bool] = mapped_column(server_default=false())
    redraw: Mapped[str | None] = mapped_column(Text)
    recipe: Mapped[str | None] = mapped_column(Text)
    file_limit: Mapped[int | None] = mapped_column(BigInteger)
    mention_id: Mapped[int | None] = mapped_column(BigInteger)
    """The message that told its member of the end, where there is one beside the job's own."""
    start_member_id: Mapped[int | None] = mapped_column(BigInteger)
    of_person: Mapped[bool] = mapped_column(server_default=false())
    training: Mapped[str | None] = mapped_column(Text)
    consent: Mapped[str | None] = mapped_column(String(20))


class ImageRow(Table):
    __tablename__ = "images"
    __table_args__ = (Index(None, "message_id"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    """Relative to the data folder, with forward slashes."""
    seed: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    recipe: Mapped[str] = mapped_column(Text)
    nsfw: Mapped[float]
    words_not_read: Mapped[str] = mapped_column(Text)
    message_id: Mapped[int | None] = mapped_column(BigInteger)


class ConceptRow(Table):
    """A member's trained or imported concept; what it is made of is in its versions."""

    __tablename__ = "concepts"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("members.id", ondelete="CASCADE"))
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    """Where it was made; None is a direct message."""
    name: Mapped[str] = mapped_column(String(32))
    depicts: Mapped[str] = mapped_column(String(10))
    consent: Mapped[str] = mapped_column(String(20))
    """Which version of the text its owner agreed to."""
    consented_at: Mapped[datetime] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ConceptVersionRow(Table):
    """One trained or imported file. The newest is the one in use; pictures name theirs by its SHA-256."""

    __tablename__ = "concept_versions"
    __table_args__ = (Index(None, "concept_id"), Index(None, "sha256"))

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    """Its training's job id, or one like it; its files are in `concepts/<id>/`."""
    concept_id: Mapped[str] = mapped_column(ForeignKey("concepts.id", ondelete="CASCADE"))
    number: Mapped[int]
    method: Mapped[str] = mapped_column(String(20))
    class_word: Mapped[str] = mapped_column(Text)
    trigger: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    """Relative to the data folder, with forward slashes."""
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    model_hash: Mapped[str] = mapped_column(String(64))
    model_name: Mapped[str] = mapped_column(Text)
    trained: Mapped[str | None] = mapped_column(Text)
    """`TrainedConcept` as JSON; None where it was imported."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ConceptShareRow(Table):
    """In which servers a concept is for everybody. No two of one name in a server: the registry sees to that."""

    __tablename__ = "concept_shares"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    concept_id: Mapped[str] = mapped_column(ForeignKey("concepts.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ConceptTakedownRow(Table):
    """In which servers a moderator has ended the sharing of a concept: its owner can't share it there again."""

    __tablename__ = "concept_takedowns"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    concept_id: Mapped[str] = mapped_column(ForeignKey("concepts.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class GuildSettingsRow(Table):
    """What a server's managers decided; no row = the defaults."""

    __tablename__ = "guild_settings"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    remix_others: Mapped[bool] = mapped_column(server_default=true())
    """Whether members may make something of other members' pictures."""


class StudioChannelRow(Table):
    """Channels in which every reply to a picture is a remix."""

    __tablename__ = "studio_channels"
    __table_args__ = (Index(None, "guild_id"),)

    channel_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger)


class BlockRow(Table):
    """Members who may not ask for anything in a server. Outlives /forget-me, so no reference to `members`."""

    __tablename__ = "blocks"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    member_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    by_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ReportRow(Table):
    """What members brought before the operator. `job_id` and `member_id` are those of the reported picture."""

    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    reporter_id: Mapped[int] = mapped_column(BigInteger)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    message_id: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[str | None] = mapped_column(String(20))
    member_id: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class DoomedMessageRow(Table):
    """Messages on Discord that have still to be deleted."""

    __tablename__ = "doomed_messages"

    channel_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
