"""The tables: catalogue and ledger. Times are seconds since 1970, UTC, as floats: they compare
alike on SQLite and PostgreSQL."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Catalogue(Base):
    __tablename__ = "catalogues"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(48), unique=True)
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    created_at: Mapped[float]


class IndexVersion(Base):
    """One collection in Milvus, and the models that filled it."""

    __tablename__ = "index_versions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id"), index=True)
    number: Mapped[int]
    collection: Mapped[str] = mapped_column(String(128), unique=True)
    alias: Mapped[str] = mapped_column(String(128))
    detector: Mapped[str] = mapped_column(String(128))
    embedder: Mapped[str] = mapped_column(String(128))
    dim: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))  # building | live | retired
    created_at: Mapped[float]

    __table_args__ = (UniqueConstraint("catalogue_id", "number"),)


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id"))
    product_id: Mapped[str] = mapped_column(String(64))
    titles: Mapped[dict[str, str]] = mapped_column(Json)
    category: Mapped[str] = mapped_column(String(256))
    categories: Mapped[dict[str, str]] = mapped_column(Json)
    price: Mapped[Decimal | None] = mapped_column(Numeric(18, 4))
    currency: Mapped[str | None] = mapped_column(String(3))
    url: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(Json)
    attributes: Mapped[dict[str, Any]] = mapped_column(Json)
    digest: Mapped[str] = mapped_column(String(64))
    updated_at: Mapped[float]

    __table_args__ = (UniqueConstraint("catalogue_id", "product_id"),)


class Image(Base):
    """A picture of a product. ``id`` follows from catalogue, product and content."""

    __tablename__ = "images"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    product: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    width: Mapped[int]
    height: Mapped[int]


class Detection(Base):
    """An object of a catalogue image and its embedding: what a rebuild of the index needs."""

    __tablename__ = "detections"

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    index_version: Mapped[int] = mapped_column(
        ForeignKey("index_versions.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    x0: Mapped[float]
    y0: Mapped[float]
    x1: Mapped[float]
    y1: Mapped[float]
    label: Mapped[str] = mapped_column(String(64))
    confidence: Mapped[float]
    embedding: Mapped[bytes] = mapped_column(LargeBinary)  # float16, little endian


class Search(Base):
    """An accepted search: from 202 to its answer, and the answer until it expires."""

    __tablename__ = "searches"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    options: Mapped[dict[str, Any]] = mapped_column(Json)
    query_key: Mapped[str | None] = mapped_column(String(64), index=True)
    product_id: Mapped[str | None] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    rung_at: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    expires_at: Mapped[float] = mapped_column(index=True)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_searches_waiting", "state", "created_at"),)


class Idempotency(Base):
    """Which row an ``Idempotency-Key`` made."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(String(36))
    created_at: Mapped[float] = mapped_column(index=True)


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # import | put | delete
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(16), index=True)
    source: Mapped[dict[str, Any]] = mapped_column(Json)
    total: Mapped[int | None]
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    deleted: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    images: Mapped[int] = mapped_column(default=0)
    image_failures: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(index=True)
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)


class Chunk(Base):
    """A stretch of a job that one worker does at a time. Number 0 reads the manifest."""

    __tablename__ = "chunks"

    id: Mapped[str] = mapped_column(String(48), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    priority: Mapped[int]  # lower goes first: one product put by hand before a bulk import
    first: Mapped[int]
    last: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))  # waiting | running | done | dead
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    rung_at: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("ix_chunks_open", "state", "priority", "job_id", "number"),
    )


class JobItem(Base):
    """A product of a job, as the manifest gave it, and what became of it."""

    __tablename__ = "job_items"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    row: Mapped[int]
    product_id: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))  # waiting | done | failed
    attempts: Mapped[int] = mapped_column(default=0)

    __table_args__ = (UniqueConstraint("job_id", "product_id"),)


class JobFailure(Base):
    """A product or picture that a job could not use, and why."""

    __tablename__ = "job_failures"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    row: Mapped[int]
    product_id: Mapped[str | None] = mapped_column(String(64))
    image: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)


class Process(Base):
    """A process that says it is ready, and when it last said so."""

    __tablename__ = "processes"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int]
    started_at: Mapped[float]
    seen_at: Mapped[float]
    details: Mapped[dict[str, Any]] = mapped_column(Json)
