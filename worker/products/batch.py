"""Types of the write path: products on their way into index versions and the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shared.database.tables import Image as ImageRow
from shared.database.tables import Product
from shared.filters import FilterFields, ProductData, filter_fields
from shared.jobs.work import Item, Outcome, Problem
from worker.indexes.versions import IndexVersion
from worker.vector_index.contract import IndexRow
from worker.vision import Detection, Image
from worker.vision.pipeline import EmbeddedObject, Pipeline


@dataclass(frozen=True, slots=True)
class Target:
    """An index version to write to, with the models that fill it.

    Attributes:
        models: their id in ``model_versions``.
    """

    version: IndexVersion
    pipeline: Pipeline
    models: int


@dataclass(slots=True)
class Content:
    """The bytes of one or more pictures of a batch; each content is decoded and embedded once.

    Attributes:
        data: until it is in the image store; None for a picture that is stored already.
        pixels: decoded, until its colours are named; None where no model has to see it.
        boxes: by detector version; an empty list stands for the whole image.
        colours: of detections, where they are known.
        objects: by models (``Target.models``); a list is never empty.
        is_embedded: a model saw it in this batch, and its embeddings are sound.
        problem: why it cannot be used: a reason code and a sentence.
        note: the same where only a target other than the first goes without it.
    """

    sha256: str
    data: bytes | None = None
    width: int = 0
    height: int = 0
    perceptual_hash: int | None = None
    pixels: Image | None = None
    boxes: dict[str, list[Detection]] = field(default_factory=dict)
    colours: dict[Detection, list[str]] = field(default_factory=dict)
    objects: dict[int, list[EmbeddedObject]] = field(default_factory=dict)
    is_embedded: bool = False
    problem: tuple[str, str] | None = None
    note: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a product.

    Attributes:
        name: what the item calls it: a file of the import, or a key of the image store.
        is_indexed: the objects that index and database have of it stay as they are.
    """

    image_id: str
    content: Content
    name: str
    is_indexed: bool


@dataclass(frozen=True, slots=True)
class ExistingProduct:
    """What the catalogue holds of a product.

    Attributes:
        images: by id, in their order.
        numbers: of the objects, by index version and image id.
    """

    row: Product
    images: dict[str, ImageRow]
    numbers: dict[int, dict[str, list[int]]]


@dataclass
class PreparedProduct:
    """A product with its pictures, and what the catalogue had of it before.

    Attributes:
        product: as it is to be from now on.
        digest: a hash of everything it says, its pictures apart.
        stored_fields: its filter fields where they are known already.
    """

    item: Item
    product: ProductData
    digest: str
    existing: ExistingProduct | None
    stored_fields: FilterFields | None = None
    pictures: list[Picture] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def filter_fields(self) -> FilterFields:
        """Filter fields of the product; cached, because they are expensive to compute."""
        return self.stored_fields or filter_fields(self.product)

    @property
    def is_changed(self) -> bool:
        """Whether the catalogue has to be written at all."""
        existing = self.existing
        return (
            existing is None
            or existing.row.digest != self.digest
            or [*existing.images] != [p.image_id for p in self.pictures]
            or not all(p.is_indexed for p in self.pictures)
        )

    @property
    def is_relabelled(self) -> bool:
        """Whether the rows that the index has of it say something else from now on."""
        if self.existing is None:
            return False
        before, now = self.existing.row, self.product
        return (before.category, before.price, before.facts) != (
            now.category,
            now.price,
            self.filter_fields.as_json(),
        )


@dataclass(slots=True)
class Batch:
    """Items that are written together.

    Attributes:
        contents: of the pictures that are not indexed, each once.
        kept_rows: rows to write of indexed pictures, by index version.
        settled: outcomes of the items that nothing is written of.
        changes: the catalogue's last change before stored products were read.
        sweep_count: sweeps before any picture was stored (``shared.retention.picture_sweep``).
        decode_s: seconds from the first read to the last picture decoded and stored, while the models run.
        detect_s, embed_s: seconds in the models, cropping counted with the embedder.
    """

    items: Sequence[Item]
    products: list[PreparedProduct]
    contents: list[Content] = field(default_factory=list)
    kept_rows: dict[int, list[IndexRow]] = field(default_factory=dict)
    settled: list[Outcome] = field(default_factory=list)
    changes: int = 0
    sweep_count: int = 0
    decode_s: float = 0.0
    detect_s: float = 0.0
    embed_s: float = 0.0
