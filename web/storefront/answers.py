"""An answer as the page shows it: the photo with its objects, the groups of hits, the ways to narrow down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain

from flask import url_for
from flask_babel import gettext as _

from shared.catalogue.shop_window import WindowProduct
from shared.contracts import Box, Hit, SearchResult, TaskStatus
from shared.errors import VitrineError
from shared.searches.repository import EarlierSearch
from web.api.searches import query_photo
from web.i18n import reader
from web.services import services
from web.storefront.refining import Wishes
from web.storefront.titles import retitled

DEMO = "demo"
_MOST_CATEGORIES = 12


@dataclass(frozen=True)
class Group:
    """Hits that belong together: those of one object, or of the whole photo.

    Attributes:
        anchor: its place in the page.
        next: what the group's next page is asked for with.
        object: its number in the answer, None of the whole photo.
    """

    anchor: str
    name: str
    box: Box | None
    hits: Sequence[Hit]
    next: str | None
    number: int = 0
    object: int | None = None


@dataclass(frozen=True)
class Mark:
    """An object in the photo that can be tapped. Its link leads to its group, here or on another page."""

    name: str
    number: int
    box: Box | None
    href: str
    anchor: str

    @property
    def area(self) -> float:
        """Of the box, as a fraction of the photo: small boxes are drawn over large ones."""
        x0, y0, x1, y1 = self.box or (0.0, 0.0, 1.0, 1.0)
        return (x1 - x0) * (y1 - y0)


@dataclass(frozen=True)
class Photo:
    """The searched photo; width and height in pixels, so that the page never jumps."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """A product that steers the search: more like this one, or less.

    Attributes:
        image_url: None where the product is gone.
    """

    product_id: str
    title: str
    image_url: str | None
    wanted: bool


@dataclass(frozen=True)
class Answer:
    """A finished search with all that its page draws.

    Attributes:
        feedback: whether what a reader does with its hits is told.
        root: id of the first search of this photo or product, which later ones narrow down.
        product_id: searched with instead of a photo.
        like: that product, unless it is gone.
        photos: how many photos of one thing were searched with, even if they are gone by now.
        calibrated: whether it is known how probable each hit is.
        categories: of the first answer, the commonest first.
        category_names: what they are called in the reader's language.
    """

    id: str
    feedback: bool
    root: str
    catalogue: str
    product_id: str | None
    like: WindowProduct | None
    photos: int
    photo: Photo | None
    groups: Sequence[Group]
    marks: Sequence[Mark]
    categories: Sequence[str]
    category_names: Mapping[str, str]
    currency: str | None
    wishes: Wishes
    examples: Sequence[Example]
    calibrated: bool
    box: Box | None
    sort: str
    spent_s: float

    @property
    def invented(self) -> bool:
        """Whether the prices are: those of the demo."""
        return self.catalogue == DEMO

    @property
    def count(self) -> int:
        """How many products there are in all groups."""
        return len({hit.product_id for group in self.groups for hit in group.hits})


def answer_of(status: TaskStatus, root_id: str | None, sort: str) -> Answer | None:
    """Put together what the page of a search shows; None unless it has an answer.

    Args:
        root_id: the first search, where this one narrows it down, as the address says.
        sort: one of SORTS.
    """
    if status.result is None:
        return None
    result = retitled(status.result)
    asked = services().searches.load_earlier(status.id)
    root = _root_of(asked, root_id) or status
    first = root.result or result
    further = asked.options.after is not None
    narrowed = root is not status and asked.options.box is not None
    groups = _groups(result, framed=narrowed, further=further)
    product_id = asked.source.product_id
    if product_id is not None and not further:
        groups = [replace(group, name=_("Similar products")) for group in groups[-1:]]
    marks = _marks(_groups(first), url_for("pages.shopper.shared", search_id=root.id) if narrowed else "")
    wishes = Wishes.of(asked.options)
    hits = [*(hit for group in groups for hit in group.hits), *_hits(first)]
    found = {hit.product_id for hit in hits}
    return Answer(
        id=status.id,
        feedback=services().settings.feedback.enabled,
        root=root.id,
        catalogue=result.catalogue,
        product_id=product_id,
        like=_like(result.catalogue, None if further else product_id),
        photos=0 if asked.source.query_key is None else 1 + len(asked.source.more_photos),
        photo=None if further else photo_of(root.id),
        groups=[replace(group, hits=_sorted(group.hits, sort)) for group in groups],
        marks=marks,
        categories=_categories(first, asked.options.category),
        category_names=services().window.category_names(result.catalogue, found, reader().titles),
        currency=next((hit.currency for hit in hits if hit.currency), None),
        wishes=wishes,
        examples=_examples(result.catalogue, wishes),
        calibrated=result.calibration is not None,
        box=asked.options.box,
        sort=sort,
        spent_s=sum(result.timings_ms.values()) / 1000,
    )


def _like(catalogue: str, product_id: str | None) -> WindowProduct | None:
    if product_id is None:
        return None
    return services().window.find_product(catalogue, product_id, reader().titles)


def _examples(catalogue: str, wishes: Wishes) -> list[Example]:
    found = []
    for product_id in (*wishes.like, *wishes.unlike):
        shown = _like(catalogue, product_id)
        title, image_url = (shown.title, shown.image_url) if shown else (product_id, None)
        found.append(Example(product_id, title, image_url, product_id in wishes.like))
    return found


def _root_of(asked: EarlierSearch, root_id: str | None) -> TaskStatus | None:
    """The first search, if the address names one of the same photo or product that is still kept."""
    if root_id is None:
        return None
    try:
        first = services().searches.load_earlier(root_id).source
        same = (first.query_key, first.product_id) == (asked.source.query_key, asked.source.product_id)
        return services().searches.status(root_id) if same else None
    except VitrineError:
        return None


def _groups(result: SearchResult, *, framed: bool = False, further: bool = False) -> list[Group]:
    """Each object, then the whole photo; of a frame that was drawn, and of a further page, only that one."""
    several = len(result.objects) > 1
    found = [
        Group(
            f"object-{number}",
            _("Object %(number)s", number=number) if several else _("The object"),
            thing.box,
            thing.hits,
            thing.next,
            number,
            number - 1,
        )
        for number, thing in enumerate(result.objects, start=1)
    ]
    if framed and found:
        return [replace(found[0], anchor="frame", name=_("Your frame"))]
    whole = Group("whole", _("Whole photo"), None, result.whole.hits, result.whole.next)
    if further:
        return [replace(group, name=_("More products")) for group in (found or [whole])[:1]]
    return [*found, whole] if found else [whole]


def _marks(groups: Sequence[Group], page: str) -> list[Mark]:
    return [Mark(g.name, g.number, g.box, f"{page}#{g.anchor}", "" if page else g.anchor) for g in groups]


def _hits(result: SearchResult) -> chain[Hit]:
    return chain(*(thing.hits for thing in result.objects), result.whole.hits)


def _categories(result: SearchResult, chosen: str | None) -> list[str]:
    """What the first answer's products are; also the chosen one, wherever it came from."""
    of_product = {hit.product_id: hit.category for hit in _hits(result) if hit.category}
    common = [name for name, _count in Counter(of_product.values()).most_common(_MOST_CATEGORIES)]
    return common if not chosen or chosen in common else [chosen, *common]


def _sorted(hits: Sequence[Hit], sort: str) -> list[Hit]:
    if sort == "nearest":
        return list(hits)
    priced = [hit for hit in hits if hit.price is not None]
    priced.sort(key=lambda hit: hit.price or Decimal(0), reverse=sort == "dearest")
    return priced + [hit for hit in hits if hit.price is None]


def photo_of(search_id: str) -> Photo | None:
    """The photo of a search; None when it was by product or the photo is gone already."""
    try:
        data = query_photo(search_id)
        if data is None:
            return None
        size = services().photos.probe(data)
    except VitrineError:
        return None
    return Photo(url_for("searches.photo", task_id=search_id), size.width, size.height)
