"""Tables of catalogues: products, images, detected objects, and index versions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Numeric, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Json


class Catalogue(Base):
    __tablename__ = "catalogues"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    # Replaced when the catalogue is deleted, to free the name: the row is kept for the deletion job.
    name: Mapped[str] = mapped_column(String(48), unique=True)
    deleted_name: Mapped[str | None] = mapped_column(String(48))
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    # Columns of manifests by the field that they mean, where the owner stated it: shared/imports/mapping.py.
    import_mapping: Mapped[dict[str, list[str]] | None] = mapped_column(Json)
    # Change number, incremented by each transaction that changes products and locked until its end.
    changes: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[float]


class ModelVersion(Base):
    """A detector and an embedder that produced boxes and embeddings together."""

    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    detector: Mapped[str] = mapped_column(String(128))
    embedder: Mapped[str] = mapped_column(String(128))

    __table_args__ = (UniqueConstraint("detector", "embedder"),)


class IndexVersionRow(Base):
    """One collection in Milvus, and the models that fill it."""

    __tablename__ = "index_versions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id"), index=True)
    number: Mapped[int]
    collection: Mapped[str] = mapped_column(String(128), unique=True)
    alias: Mapped[str] = mapped_column(String(128))
    detector: Mapped[str] = mapped_column(String(128))
    embedder: Mapped[str] = mapped_column(String(128))
    # Registry names or paths by which a worker loads the models; empty in rows older than these columns.
    detector_name: Mapped[str] = mapped_column(Text, default="")
    embedder_name: Mapped[str] = mapped_column(Text, default="")
    dim: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))  # building | ready | live | retired | pruned
    # Second collection of this version, which a rebuild fills.
    beside: Mapped[str | None] = mapped_column(String(128))
    # Incremented whenever the target collections change: writes in flight are then repeated.
    epoch: Mapped[int] = mapped_column(default=0)
    # Change number after which the collection may be incomplete; null while it is complete.
    stale_since: Mapped[int | None] = mapped_column(BigInteger)
    beside_since: Mapped[int | None] = mapped_column(BigInteger)  # stale_since of the second collection
    job_id: Mapped[str | None] = mapped_column(String(36))
    report: Mapped[dict[str, Any] | None] = mapped_column(Json)  # verdict of the quality gate
    created_at: Mapped[float]
    promoted_at: Mapped[float | None]
    retired_at: Mapped[float | None]

    __table_args__ = (UniqueConstraint("catalogue_id", "number"),)


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id"))
    product_id: Mapped[str] = mapped_column(String(128))
    titles: Mapped[dict[str, str]] = mapped_column(Json)
    category: Mapped[str] = mapped_column(String(256))
    categories: Mapped[dict[str, str]] = mapped_column(Json)
    price: Mapped[Decimal | None] = mapped_column(Numeric(18, 4))
    currency: Mapped[str | None] = mapped_column(String(3))
    url: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(Json)
    attributes: Mapped[dict[str, Any]] = mapped_column(Json)
    # Filter fields, computed from the columns above: shared/filters/facts.py.
    facts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    digest: Mapped[str] = mapped_column(String(64))
    # Change number of the last write.
    change: Mapped[int] = mapped_column(BigInteger, default=0)
    updated_at: Mapped[float]
    # Acceptance time of the request that wrote it last: an older request does not overwrite it.
    accepted_at: Mapped[float] = mapped_column(default=0.0, server_default="0")

    __table_args__ = (
        UniqueConstraint("catalogue_id", "product_id"),
        Index("ix_products_change", "catalogue_id", "change"),
        # Pages of a catalogue in the order of ids, without a sort.
        Index("ix_products_of_catalogue", "catalogue_id", "id"),
    )


class DeletedProduct(Base):
    """A deleted product, kept for a while so that an older request does not restore it."""

    __tablename__ = "deleted_products"

    catalogue_id: Mapped[int] = mapped_column(
        ForeignKey("catalogues.id", ondelete="CASCADE"), primary_key=True
    )
    product_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    accepted_at: Mapped[float] = mapped_column(index=True)


class Image(Base):
    """A picture of a product. ``id`` is derived from catalogue, product and content."""

    __tablename__ = "images"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    product: Mapped[int] = mapped_column(ForeignKey("products.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    width: Mapped[int]
    height: Mapped[int]
    # 64 bits, signed; null if it was never computed. Near duplicates differ in few bits.
    perceptual_hash: Mapped[int | None] = mapped_column(BigInteger)


class PictureSweep(Base):
    """Counter of picture sweeps, in one row: shared/retention/picture_sweep.py."""

    __tablename__ = "picture_sweeps"

    id: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class Detection(Base):
    """An object of a catalogue image with its embedding, from which an index can be rebuilt."""

    __tablename__ = "detections"

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    index_version: Mapped[int] = mapped_column(
        ForeignKey("index_versions.id", ondelete="CASCADE"), primary_key=True
    )
    # Models that produced it; the row is stale if they differ from the index version's.
    models: Mapped[int | None]  # of `model_versions`
    x0: Mapped[float]
    y0: Mapped[float]
    x1: Mapped[float]
    y1: Mapped[float]
    label: Mapped[str] = mapped_column(String(64))
    confidence: Mapped[float]
    colours: Mapped[list[str] | None] = mapped_column(Json)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)  # float16, little endian

    __table_args__ = (Index("ix_detections_of_version", "index_version", "image_id", "number"),)


class GoldenQuery(Base):
    """A photo with a known right product, for the quality gate and the calibration."""

    __tablename__ = "golden_queries"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    catalogue_id: Mapped[int] = mapped_column(ForeignKey("catalogues.id", ondelete="CASCADE"), index=True)
    product_id: Mapped[str] = mapped_column(String(128))
    sha256: Mapped[str] = mapped_column(String(64))  # key of the photo, kind "golden" in the image store
    box: Mapped[list[float] | None] = mapped_column(Json)
    source: Mapped[str] = mapped_column(String(16))  # upload | feedback
    created_at: Mapped[float]


class Calibration(Base):
    """Maps from scores to probabilities for one index version."""

    __tablename__ = "calibrations"

    index_version: Mapped[int] = mapped_column(
        ForeignKey("index_versions.id", ondelete="CASCADE"), primary_key=True
    )
    curves: Mapped[dict[str, Any]] = mapped_column(Json)
    report: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[float]
