"""A micro-batch of products on its way into the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from shared.contracts import ProductIn
from shared.filters import FilterFields, filter_fields
from shared.jobs.work import Item, Problem
from worker.indexes.versions import IndexVersion
from worker.products.existing_embeddings import IndexedObject, Known
from worker.vision import Image
from worker.vision.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Target:
    """An index version that products are written to.

    Attributes:
        pipeline: the models that fill it.
        models: their row in ``model_versions``.
    """

    version: IndexVersion
    pipeline: Pipeline
    models: int


@dataclass(slots=True)
class Content:
    """The bytes of one or more pictures of the batch, and what is known of them.

    Attributes:
        data: until they are in the image store.
        pixels: decoded, until their colours are known; None where no model has to see them.
        objects: by models (``Target.models``); a list is never empty.
        embedded: whether a model has seen it in this batch.
        problem: why it cannot be used: a reason and a sentence.
    """

    sha256: str
    data: bytes | None = None
    width: int = 0
    height: int = 0
    perceptual_hash: int | None = None
    pixels: Image | None = None
    objects: dict[int, list[IndexedObject]] = field(default_factory=dict)
    embedded: bool = False
    problem: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a product.

    Attributes:
        known: the product has it already and the live index has its objects: they stay as they are.
    """

    image_id: str
    content: Content
    known: bool


@dataclass
class Prepared:
    """A product with its pictures, and what the catalogue had of it before."""

    item: Item
    product: ProductIn
    digest: str
    before: Known | None
    pictures: list[Picture] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def facts(self) -> FilterFields:
        """What filters know of the product; needed in several places, and dear."""
        return filter_fields(self.product)

    @property
    def changes(self) -> bool:
        """Whether the catalogue has to be written at all."""
        before = self.before
        return (
            before is None
            or before.row.digest != self.digest
            or [*before.images] != [p.image_id for p in self.pictures]
            or not all(p.known for p in self.pictures)
        )


@dataclass(slots=True)
class Batch:
    """Products that are written together.

    Attributes:
        swept: the count of sweeps before any picture was stored (``shared.retention.picture_sweep``).
        contents: of the pictures that are not known, each once.
        decode_s: seconds from the first read to the last picture decoded and stored, ``decode_threads``
            at work; beside the models, not before them.
        detect_s, embed_s: seconds in the models, cropping counted with the embedder.
        superseded: items that are not applied, since a later change of their product was accepted.
    """

    products: list[Prepared]
    swept: int
    contents: list[Content] = field(default_factory=list)
    decode_s: float = 0.0
    detect_s: float = 0.0
    embed_s: float = 0.0
    superseded: list[Item] = field(default_factory=list)
