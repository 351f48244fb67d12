"""Tables of accepted work: searches, jobs with their chunks and items, and idempotency keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Json


class Search(Base):
    """An accepted search, and its result until it expires."""

    __tablename__ = "searches"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    options: Mapped[dict[str, Any]] = mapped_column(Json)
    query_key: Mapped[str | None] = mapped_column(String(64), index=True)
    # Keys of further photos of the same object.
    more_photos: Mapped[list[str] | None] = mapped_column(Json)
    product_id: Mapped[str | None] = mapped_column(String(128))
    # Hash of the key or visitor that made it: shared/access/principal.py; null: the owner of the server.
    owner: Mapped[str | None] = mapped_column(String(32))
    # Hash of the key or visitor that sent its photo, which a repeated search keeps.
    photo_owner: Mapped[str | None] = mapped_column(String(32))
    # Whether others who have the address of the search see its photo too.
    photo_shared: Mapped[bool] = mapped_column(default=False, server_default=false())
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    # When its message was last published; 0 if none is in flight. The column keeps its first name, because
    # programs of two versions share the table during an upgrade.
    published_at: Mapped[float] = mapped_column("rung_at", key="published_at", default=0.0)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    expires_at: Mapped[float] = mapped_column(index=True)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # Detected objects and their embeddings (float16), for repeated searches without inference.
    objects: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    embeddings: Mapped[bytes | None] = mapped_column(LargeBinary)
    models: Mapped[int | None]  # of `model_versions`
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_searches_waiting", "state", "created_at"),)


class Idempotency(Base):
    """The row that the request with an ``Idempotency-Key`` created."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(String(36))
    created_at: Mapped[float] = mapped_column(index=True)


_OPEN_JOB = text("state IN ('queued', 'running')")
_IS_RUNNING = text("state = 'running'")
_HAS_ROWS = text("finished_at IS NOT NULL AND rows_deleted_at IS NULL")


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # a JobKind
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(16), index=True)
    phase: Mapped[str] = mapped_column(String(16), default="plan")  # plan | work | finish
    source: Mapped[dict[str, Any]] = mapped_column(Json)
    options: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    report: Mapped[dict[str, Any] | None] = mapped_column(Json)
    index_version: Mapped[int | None]  # that the job fills or switches
    retry_of: Mapped[str | None] = mapped_column(String(36))
    # Priority of its chunks; the default is that of bulk work.
    priority: Mapped[int] = mapped_column(default=10, server_default="10")
    claimed_at: Mapped[float | None]  # time of the last claim of a chunk, for the turns of catalogues
    caller: Mapped[str | None] = mapped_column(String(64))  # null: the system
    # Set for a single update: updates of one product run in the order in which they were accepted.
    product_id: Mapped[str | None] = mapped_column(String(128))
    # Of a retry: acceptance time of the first job; null: ``created_at``.
    accepted_at: Mapped[float | None]
    waits_for: Mapped[str | None] = mapped_column(Text)  # reason while it yields to another job
    total: Mapped[int | None]
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    deleted: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    images: Mapped[int] = mapped_column(default=0)  # embedded
    images_reused: Mapped[int] = mapped_column(default=0)  # copied from a picture with the same bytes
    image_failures: Mapped[int] = mapped_column(default=0)
    # Seconds of all workers by stage.
    decode_s: Mapped[float] = mapped_column(default=0.0)
    detect_s: Mapped[float] = mapped_column(default=0.0)
    embed_s: Mapped[float] = mapped_column(default=0.0)
    write_s: Mapped[float] = mapped_column(default=0.0)
    # Samples (time, processed products) of the last minute, for the rate.
    pace: Mapped[list[list[float]] | None] = mapped_column(Json)
    paused_at: Mapped[float | None]
    paused_s: Mapped[float] = mapped_column(default=0.0)  # sum of all ended pauses
    created_at: Mapped[float] = mapped_column(index=True)
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    # When the items, chunks and failures of the ended job were deleted: shared/retention/job_rows.py.
    rows_deleted_at: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index(
            "ix_jobs_open",
            "catalogue_id",
            "priority",
            "created_at",
            postgresql_where=_OPEN_JOB,
            sqlite_where=_OPEN_JOB,
        ),
        Index("ix_jobs_turn", "catalogue_id", "claimed_at"),
        Index("ix_jobs_with_rows", "finished_at", postgresql_where=_HAS_ROWS, sqlite_where=_HAS_ROWS),
        Index(
            "ix_jobs_of_product",
            "catalogue_id",
            "product_id",
            "created_at",
            postgresql_where=_OPEN_JOB,
            sqlite_where=_OPEN_JOB,
        ),
    )


class Chunk(Base):
    """A part of a job that one worker processes at a time.

    Number 0 lists the items (stage ``plan``), chunks of stage ``items`` process them, and the chunk of stage
    ``finish`` is held until they are done.
    """

    __tablename__ = "chunks"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    stage: Mapped[str] = mapped_column(String(8), default="items")  # plan | items | finish
    priority: Mapped[int]  # lower is more urgent: a single update before a bulk import
    first: Mapped[int]
    last: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))  # held | waiting | running | done | dead
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    # Unused since version 0.1, which still inserts it; NOT NULL without a server default.
    rung_at: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("ix_chunks_open", "state", "priority", "job_id", "number"),
        Index("ix_chunks_of_job", "job_id", "state", "number"),
        # Nearly all chunks are done, so that a planner takes an index on all states for useless.
        Index("ix_chunks_running", "lease_until", postgresql_where=_IS_RUNNING, sqlite_where=_IS_RUNNING),
    )


class JobItem(Base):
    """A product of a job as requested, and its outcome."""

    __tablename__ = "job_items"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[int]
    product_id: Mapped[str] = mapped_column(String(128))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))  # waiting | done | failed
    attempts: Mapped[int] = mapped_column(default=0)
    result: Mapped[str | None] = mapped_column(String(16))  # new | changed | unchanged | deleted | failed
    reason: Mapped[str | None] = mapped_column(String(64))  # of a failure

    __table_args__ = (UniqueConstraint("job_id", "product_id"),)


class JobFailure(Base):
    """A product or picture that a job could not use, with the reason."""

    __tablename__ = "job_failures"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    row: Mapped[int]
    product_id: Mapped[str | None] = mapped_column(String(128))
    image: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("ix_job_failures_of_product", "job_id", "product_id"),)
