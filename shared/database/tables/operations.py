"""Tables of operations: processes, webhooks, feedback, and groups of duplicates."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Json


class Process(Base):
    """A ready process and its last heartbeat."""

    __tablename__ = "processes"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int]
    started_at: Mapped[float]
    seen_at: Mapped[float]
    details: Mapped[dict[str, Any]] = mapped_column(Json)


class Webhook(Base):
    """An address that receives events."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(Json)
    catalogue: Mapped[str | None] = mapped_column(String(48))  # only this one's events
    active: Mapped[bool]
    created_at: Mapped[float]


class Delivery(Base):
    """The delivery of an event to a webhook."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    event: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))  # waiting | delivered | dead
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float]
    status: Mapped[int | None]  # of the last answer
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float]
    finished_at: Mapped[float | None]

    __table_args__ = (Index("ix_deliveries_waiting", "state", "not_before"),)


class Feedback(Base):
    """Feedback of a shopper on a hit. It identifies no person."""

    __tablename__ = "feedback"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"))
    search_id: Mapped[str] = mapped_column(String(36))
    object_number: Mapped[int | None]  # None: the whole image's group
    product_id: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))  # click | not_this | right
    rank: Mapped[int]
    score: Mapped[float]
    # Key of the photo, kind "feedback" in the image store, and the object's box in it; null without one.
    photo: Mapped[str | None] = mapped_column(String(64), index=True)
    box: Mapped[list[float] | None] = mapped_column(Json)
    # Hash of search, object, product and kind: repeated feedback is one row.
    key: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[float]

    __table_args__ = (
        Index("ix_feedback_catalogue", "catalogue_id", "created_at"),
        Index("ix_feedback_key", "key", unique=True),
    )


class Duplicate(Base):
    """A member of a group of duplicate products."""

    __tablename__ = "duplicates"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    group_number: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    image_id: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(8))  # exact | near
    score: Mapped[float]
    keep: Mapped[bool]


class DuplicatePair(Base):
    """Two products with duplicate pictures, until the job has built groups of them."""

    __tablename__ = "duplicate_pairs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    # Row ids of the products, the smaller one left; either may be deleted by now.
    left_product: Mapped[int] = mapped_column(primary_key=True)
    right_product: Mapped[int] = mapped_column(primary_key=True)
    left_image: Mapped[str] = mapped_column(String(32))
    right_image: Mapped[str] = mapped_column(String(32))
    score: Mapped[float]

    __table_args__ = (Index("ix_duplicate_pairs_right", "job_id", "right_product"),)
