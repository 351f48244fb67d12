"""Build the view model of a result page: photo with objects, groups of hits, refinements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from flask import url_for
from flask_babel import gettext as _

from shared.catalogue.shop_window import ShownFacts, WindowProduct
from shared.contracts import Box, Hit, TaskStatus
from shared.errors import VitrineError
from shared.searches.repository import EarlierSearch
from web.api.searches import load_query_photo
from web.http.principals import current_principal
from web.http.scope import may_read_photo, require_result
from web.i18n import reader
from web.i18n.money import shown_currency
from web.services import services
from web.storefront.facets import Facet, PriceRange, list_facets, price_range
from web.storefront.groups import (
    Cards,
    Group,
    Mark,
    all_hits,
    cut_cards,
    find_group,
    list_groups,
    list_marks,
)
from web.storefront.refining import Refinements, View, convert_text
from web.storefront.titles import translate_titles

DEMO = "demo"


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
class ShownGroup:
    """A group with what the page shows of it.

    Attributes:
        best_id: product id of the best match, empty if none is certain enough.
        prices: range of the prices in the reader's currency, None without prices.
    """

    group: Group
    cards: Cards
    best_id: str
    facets: Sequence[Facet]
    prices: PriceRange | None
    own_currency: str


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
        current: anchor of the mark whose object the page shows; empty if the page shows all or a drawn frame.
        facts: of the products on the page.
        min_price, max_price: of the refinements, in ``price_currency``, the reader's.
        own_currency: the currency of the prices from which they were converted, empty without prices.
        is_further: the page continues one group of another.
    """

    id: str
    feedback: bool
    root: str
    catalogue: str
    product_id: str | None
    like: WindowProduct | None
    photos: int
    photo: Photo | None
    groups: Sequence[ShownGroup]
    marks: Sequence[Mark]
    current: str
    facts: ShownFacts
    refinements: Refinements
    min_price: str
    max_price: str
    price_currency: str
    own_currency: str
    examples: Sequence[Example]
    calibrated: bool
    box: Box | None
    is_further: bool

    @property
    def invented(self) -> bool:
        """Whether the prices are invented, as those of the demo are."""
        return self.catalogue == DEMO

    @property
    def count(self) -> int:
        """Number of distinct products on the page."""
        return len({hit.product_id for shown in self.groups for hit in shown.cards.hits})

    @property
    def first_hit(self) -> Hit | None:
        """The first hit of the first group, which previews of shared links show."""
        return next((hit for shown in self.groups for hit in shown.group.hits), None)


def build_answer(status: TaskStatus, view: View) -> Answer | None:
    """Build the view model of a search; return None without a result."""
    if status.result is None:
        return None
    result = translate_titles(status.result)
    search = services().searches.load_earlier(status.id)
    root = _find_root(search, view.root_id) or status
    first = root.result or result
    box, product_id = search.options.box, search.source.product_id
    is_further = search.options.after is not None
    narrowed = root is not status and box is not None
    facts = _load_facts(result.catalogue, [*all_hits(result), *all_hits(first)])
    groups = list_groups(result, facts.category_name, framed=narrowed, further=is_further)
    of_photo = list_groups(first, facts.category_name)
    known = find_group(of_photo, box) if narrowed else None
    if known is not None:
        groups = [replace(groups[0], name=known.name)]
    if product_id is not None and not is_further:
        groups = [replace(group, name=_("Similar products")) for group in groups[-1:]]
    page = url_for("pages.shopper.show_search", search_id=root.id) if narrowed else ""
    refinements = Refinements.from_options(search.options)
    shown = [_show(group, known or group, facts, refinements, view) for group in groups]
    own = next((each.own_currency for each in shown if each.own_currency), "")
    return Answer(
        id=status.id,
        feedback=services().settings.feedback.enabled,
        root=root.id,
        catalogue=result.catalogue,
        product_id=product_id,
        like=_load_product(result.catalogue, None if is_further else product_id),
        photos=0 if search.source.query_key is None else 1 + len(search.source.more_photos),
        photo=None if is_further else load_photo(root.id),
        groups=shown,
        marks=list_marks(of_photo, page, known),
        current=known.anchor if known else "",
        facts=facts,
        refinements=refinements,
        min_price=convert_text(refinements.min_price, own, shown_currency(own)),
        max_price=convert_text(refinements.max_price, own, shown_currency(own)),
        price_currency=shown_currency(own),
        own_currency=own,
        examples=_load_examples(result.catalogue, refinements),
        calibrated=result.calibration is not None,
        box=box,
        is_further=is_further,
    )


def _load_facts(catalogue: str, hits: Sequence[Hit]) -> ShownFacts:
    return services().window.shown_facts(
        catalogue, {hit.product_id for hit in hits}, {hit.image_id for hit in hits}, reader().titles
    )


def _show(group: Group, whole: Group, facts: ShownFacts, chosen: Refinements, view: View) -> ShownGroup:
    """Choose the cards and the facets of a group.

    Args:
        whole: the same object's group without refinements, which facets count.
    """
    cards = cut_cards(group, view.shown, with_rest=view.with_rest)
    priced = [(hit.price, hit.currency) for hit in whole.similar if hit.price is not None and hit.currency]
    prices = price_range(priced)
    return ShownGroup(
        group,
        replace(cards, hits=_sorted(cards.hits, view.sort)),
        group.best.product_id if group.best else "",
        list_facets(whole.similar, facts, chosen),
        prices.shown() if prices else None,
        prices.currency if prices else "",
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
