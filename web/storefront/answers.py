"""Build the view model of a result page: photo with objects, groups of hits, refinements."""

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
from web.api.searches import load_query_photo
from web.http.principals import current_principal
from web.http.scope import may_read_photo, require_result
from web.i18n import reader
from web.services import services
from web.storefront.refining import Refinements
from web.storefront.titles import translate_titles

DEMO = "demo"
_MAX_CATEGORIES = 12


@dataclass(frozen=True)
class Group:
    """The hits of one object or of the whole photo.

    Attributes:
        anchor: id of its element in the page.
        next: cursor of the group's next page.
        number: number shown in the photo, 0 for the whole photo.
        object: index of the object in the result, None for the whole photo.
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
    """A link from an object in the photo to its group, on this or another page."""

    name: str
    number: int
    box: Box | None
    href: str
    anchor: str

    @property
    def area(self) -> float:
        """Area of the box as a fraction of the photo; small boxes are drawn over large ones."""
        x0, y0, x1, y1 = self.box or (0.0, 0.0, 1.0, 1.0)
        return (x1 - x0) * (y1 - y0)


@dataclass(frozen=True)
class Photo:
    """The searched photo; width and height in pixels prevent layout shifts."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """A product that refines the search as a positive or negative example.

    Attributes:
        image_url: None if the product was deleted.
        wanted: True for a positive example.
    """

    product_id: str
    title: str
    image_url: str | None
    wanted: bool


@dataclass(frozen=True)
class Answer:
    """The view model of a finished search.

    Attributes:
        feedback: the page reports what the shopper does with hits.
        root: id of the first search of this photo or product, which later searches refine.
        product_id: the searched product, None for a search by photo.
        like: that product, None if it was deleted.
        photos: number of searched photos, including expired ones.
        calibrated: hits have probabilities.
        categories: those of the first result, most frequent first.
        category_names: their names in the reader's language.
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
    refinements: Refinements
    examples: Sequence[Example]
    calibrated: bool
    box: Box | None
    sort: str
    spent_s: float

    @property
    def invented(self) -> bool:
        """Whether the prices are invented, as those of the demo are."""
        return self.catalogue == DEMO

    @property
    def count(self) -> int:
        """Number of distinct products in all groups."""
        return len({hit.product_id for group in self.groups for hit in group.hits})


def build_answer(status: TaskStatus, root_id: str | None, sort: str) -> Answer | None:
    """Build the view model of a search; return None without a result.

    Args:
        root_id: the first search that this one refines, from the URL.
        sort: one of SORTS.
    """
    if status.result is None:
        return None
    result = translate_titles(status.result)
    search = services().searches.load_earlier(status.id)
    root = _find_root(search, root_id) or status
    first = root.result or result
    further = search.options.after is not None
    narrowed = root is not status and search.options.box is not None
    groups = _groups(result, framed=narrowed, further=further)
    product_id = search.source.product_id
    if product_id is not None and not further:
        groups = [replace(group, name=_("Similar products")) for group in groups[-1:]]
    page = url_for("pages.shopper.show_search", search_id=root.id) if narrowed else ""
    refinements = Refinements.from_options(search.options)
    hits = [*(hit for group in groups for hit in group.hits), *_hits(first)]
    found = {hit.product_id for hit in hits}
    return Answer(
        id=status.id,
        feedback=services().settings.feedback.enabled,
        root=root.id,
        catalogue=result.catalogue,
        product_id=product_id,
        like=_load_product(result.catalogue, None if further else product_id),
        photos=0 if search.source.query_key is None else 1 + len(search.source.more_photos),
        photo=None if further else load_photo(root.id),
        groups=[replace(group, hits=_sorted(group.hits, sort)) for group in groups],
        marks=_marks(_groups(first), page),
        categories=_categories(first, search.options.category),
        category_names=services().window.category_names(result.catalogue, found, reader().titles),
        currency=next((hit.currency for hit in hits if hit.currency), None),
        refinements=refinements,
        examples=_load_examples(result.catalogue, refinements),
        calibrated=result.calibration is not None,
        box=search.options.box,
        sort=sort,
        spent_s=sum(result.timings_ms.values()) / 1000,
    )


def _load_product(catalogue: str, product_id: str | None) -> WindowProduct | None:
    if product_id is None:
        return None
    return services().window.find_product(catalogue, product_id, reader().titles)


def _load_examples(catalogue: str, refinements: Refinements) -> list[Example]:
    found = []
    for product_id in (*refinements.like, *refinements.unlike):
        shown = _load_product(catalogue, product_id)
        title, image_url = (shown.title, shown.image_url) if shown else (product_id, None)
        found.append(Example(product_id, title, image_url, product_id in refinements.like))
    return found


def _find_root(search: EarlierSearch, root_id: str | None) -> TaskStatus | None:
    """Return the first search if it still exists and has the same photo or product."""
    if root_id is None:
        return None
    try:
        require_result(current_principal(), root_id)
        first = services().searches.load_earlier(root_id).source
        same = (first.query_key, first.product_id) == (search.source.query_key, search.source.product_id)
        return services().searches.status(root_id) if same else None
    except VitrineError:
        return None


def _groups(result: SearchResult, *, framed: bool = False, further: bool = False) -> list[Group]:
    """List the groups: each object, then the whole photo; only one for a drawn frame or a further page."""
    several = len(result.objects) > 1
    found = [
        Group(
            f"object-{number}",
            _("Object %(number)s", number=number) if several else _("Object"),
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


def _categories(result: SearchResult, selected: str | None) -> list[str]:
    """List the most frequent categories of the first result, including the selected one."""
    of_product = {hit.product_id: hit.category for hit in _hits(result) if hit.category}
    common = [name for name, _count in Counter(of_product.values()).most_common(_MAX_CATEGORIES)]
    return common if not selected or selected in common else [selected, *common]


def _sorted(hits: Sequence[Hit], sort: str) -> list[Hit]:
    if sort == "nearest":
        return list(hits)
    priced = [hit for hit in hits if hit.price is not None]
    is_descending = sort == "dearest"  # prose: ignore (in shared links)
    priced.sort(key=lambda hit: hit.price or Decimal(0), reverse=is_descending)
    return priced + [hit for hit in hits if hit.price is None]


def load_photo(search_id: str) -> Photo | None:
    """Load the photo's address and size; return None for a search by product or an expired photo."""
    if not may_read_photo(current_principal(), search_id):
        return None
    try:
        data = load_query_photo(search_id)
        if data is None:
            return None
        size = services().photos.probe(data)
    except VitrineError:
        return None
    return Photo(url_for("searches.get_search_photo", search_id=search_id), size.width, size.height)
