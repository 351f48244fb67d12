"""Tables of search metrics: stage durations and recall probes."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Json


class Probe(Base):
    """Recall of a live search, compared with an exact search."""

    __tablename__ = "probes"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    index_version: Mapped[int] = mapped_column(ForeignKey("index_versions.id", ondelete="CASCADE"))
    k: Mapped[int]
    recall: Mapped[float]
    created_at: Mapped[float]

    __table_args__ = (Index("ix_probes_catalogue", "catalogue_id", "created_at"),)


class ProbeQuery(Base):
    """A live search that waits for its exact comparison."""

    __tablename__ = "probe_queries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    index_version: Mapped[int] = mapped_column(ForeignKey("index_versions.id", ondelete="CASCADE"))
    filter: Mapped[str | None] = mapped_column(Text)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)  # float32, little endian
    keys: Mapped[list[str]] = mapped_column(Json)  # of the rows that the index returned, best first
    asked_at: Mapped[float]


class Timing(Base):
    """Stage durations of an answered search."""

    __tablename__ = "search_timings"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    finished_at: Mapped[float] = mapped_column(index=True)
    stages: Mapped[dict[str, float]] = mapped_column(Json)  # milliseconds
    # Whether `stage_counts` includes it.
    counted: Mapped[bool] = mapped_column(default=False, index=True)


class StageCount(Base):
    """A bucket of the cumulative histogram of a stage's durations."""

    __tablename__ = "stage_counts"

    stage: Mapped[str] = mapped_column(String(16), primary_key=True)
    bucket: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
    total_ms: Mapped[float] = mapped_column(default=0.0)
