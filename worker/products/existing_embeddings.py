"""What the database has already: of products, and of pictures with the same content."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import String, column, exists, select, values
from sqlalchemy.orm import Session

from shared.catalogue.store import load_images
from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from worker.vision import Detection as Seen
from worker.vision import Embeddings
from worker.vision.packing import unpack_embedding


@dataclass(frozen=True, slots=True)
class IndexedObject:
    """An object of a picture as one pair of models has it.

    Attributes:
        embedding: ``(D,) float32``, normalised.
        colours: None where they were never computed.
    """

    seen: Seen
    embedding: Embeddings
    colours: list[str] | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue holds of a product.

    Attributes:
        images: by id, in their order.
        numbers: of the objects, by index version and image id.
        live: the index version whose objects count.
    """

    row: Product
    images: dict[str, ImageRow]
    numbers: dict[int, dict[str, list[int]]]
    live: int

    @property
    def detections(self) -> dict[str, list[int]]:
        """Numbers of the objects that the live index version has, by image id."""
        return self.numbers.get(self.live, {})


@dataclass(frozen=True, slots=True)
class ReusableEmbedding:
    """A picture with the same bytes that was embedded before."""

    image: ImageRow
    objects: list[IndexedObject]


def known_products(
    session: Session, catalogue_id: int, live: int, product_ids: Iterable[str]
) -> dict[str, Known]:
    """Return what the catalogue holds of products, by product id; new ones are left out.

    Args:
        live: the live index version.
    """
    products = session.scalars(
        select(Product).where(Product.catalogue_id == catalogue_id, Product.product_id.in_(list(product_ids)))
    ).all()
    if not products:
        return {}
    images = load_images(session, [p.id for p in products])
    owners = {image.id: product for product, rows in images.items() for image in rows}
    numbers: dict[int, dict[int, dict[str, list[int]]]] = {p.id: {} for p in products}
    # Without the embeddings: they are needed only where what rows say of the product changed.
    for image_id, version, number in session.execute(
        select(Detection.image_id, Detection.index_version, Detection.number).where(
            Detection.image_id.in_(list(owners))
        )
    ):
        numbers[owners[image_id]].setdefault(version, {}).setdefault(image_id, []).append(number)
    return {
        p.product_id: Known(p, {image.id: image for image in images.get(p.id, [])}, numbers[p.id], live)
        for p in products
    }


def stored_objects(
    session: Session, image_ids: Collection[str], versions: Collection[int]
) -> dict[tuple[int, str], dict[int, IndexedObject]]:
    """Return the objects of pictures by index version and image id, each by its number."""
    found: dict[tuple[int, str], dict[int, IndexedObject]] = {}
    if image_ids:
        for row in session.scalars(
            select(Detection).where(
                Detection.image_id.in_(list(image_ids)), Detection.index_version.in_(list(versions))
            )
        ):
            found.setdefault((row.index_version, row.image_id), {})[row.number] = _as_object(row)
    return found


def twins(session: Session, contents: Collection[str], models: int) -> dict[str, ReusableEmbedding]:
    """Return pictures, of any catalogue, with these contents that the models embedded already.

    Args:
        contents: SHA-256, hexadecimal.
        models: of ``model_versions``.
    """
    # Often all are new, and to make the statement below costs more than to ask that.
    if session.scalar(select(ImageRow.id).where(ImageRow.sha256.in_(contents)).limit(1)) is None:
        return {}
    wanted = values(column("sha256", String), name="given").data([(c,) for c in contents]).cte("wanted")
    # One each: a content may have thousands of pictures.
    one = (
        select(ImageRow.id)
        .where(
            ImageRow.sha256 == wanted.c.sha256,
            exists().where(Detection.image_id == ImageRow.id, Detection.models == models),
        )
        .limit(1)
        .correlate(wanted)
        .scalar_subquery()
    )
    ids = [i for i in session.scalars(select(one).select_from(wanted)) if i is not None]
    rows: dict[str, list[Detection]] = {}
    for row in session.scalars(
        select(Detection)
        .where(Detection.image_id.in_(ids), Detection.models == models)
        .order_by(Detection.index_version, Detection.number)
    ):
        rows.setdefault(row.image_id, []).append(row)
    images = session.scalars(select(ImageRow).where(ImageRow.id.in_(list(rows))))
    return {image.sha256: ReusableEmbedding(image, _of_one_version(rows[image.id])) for image in images}


def _of_one_version(rows: list[Detection]) -> list[IndexedObject]:
    return [_as_object(row) for row in rows if row.index_version == rows[0].index_version]


def _as_object(row: Detection) -> IndexedObject:
    seen = Seen((row.x0, row.y0, row.x1, row.y1), row.label, row.confidence)
    return IndexedObject(seen, unpack_embedding(row.embedding), row.colours)
