"""The groups of a result page: named after what they show, cut where products stop being similar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from flask_babel import gettext as _

from shared.contracts import Box, FoundObject, Hit, SearchResult
from shared.contracts.search import PredictedCategory

#: Hits that the pages ask for in each group: enough to count facets, and two pages of cards.
TOP_K = 48
#: Cards of a group before "Show more", and how many more that shows.
PAGE_CARDS = 24
#: Share of the first score below which products are no longer similar. Over 190 photos of the demo, it keeps
#: 20 of 48 hits where the shop has the product, and 37 where it has only others of its kind.
_SIMILAR_SHARE = 0.5
#: Hits that are shown in any case.
_MIN_CARDS = 8
#: Probability from which the first hit is called the best match. Over 190 composed photos, 0 of 60 of goods
#: that the demo does not have reach it, and of 130 that it has 39 %, all of them rightly.
BEST_MATCH = 0.9
#: Share of votes from which a category names an object.
_MIN_CATEGORY_SHARE = 0.5
#: A longer title does not name an object.
_MAX_NAME_CHARS = 28
#: Anchor of the only group of a page that shows one object or a drawn frame.
FRAME = "frame"
#: Box by which one asks for the whole photo alone.
WHOLE_BOX: Box = (0.0, 0.0, 1.0, 1.0)
#: Largest difference of edges between a box and the same box in an address, which has four decimals.
_SAME_EDGE = 0.002


@dataclass(frozen=True)
class Group:
    """The hits of one object or of the whole photo.

    Attributes:
        anchor: id of its element in the page.
        next: cursor of the group's next page.
        number: number shown in the photo, 0 for the whole photo.
        object: index of the object in the result, None for the whole photo.
        category: the category of its product, empty if the hits disagree.
    """

    anchor: str
    name: str
    box: Box | None
    hits: Sequence[Hit]
    next: str | None
    number: int = 0
    object: int | None = None
    category: str = ""

    @property
    def best(self) -> Hit | None:
        """The first hit if it is most probably the searched product."""
        first = self.hits[0] if self.hits else None
        sure = first is not None and first.probability is not None and first.probability >= BEST_MATCH
        return first if sure else None

    @property
    def similar(self) -> Sequence[Hit]:
        """The hits up to the first that is no longer similar."""
        least = _SIMILAR_SHARE * self.hits[0].score if self.hits else 0.0
        end = next((n for n, hit in enumerate(self.hits) if hit.score < least), len(self.hits))
        return self.hits[: max(end, _MIN_CARDS)]


@dataclass(frozen=True)
class Cards:
    """The cards of a group that the page shows.

    Attributes:
        more: number of cards with the next press of "Show more", 0 if it would show none.
        has_rest: there are less similar hits, which the shopper has not asked for.
        next: cursor of a further page, None while this one has more.
    """

    hits: Sequence[Hit]
    more: int
    has_rest: bool
    next: str | None


@dataclass(frozen=True)
class Mark:
    """A link from an object in the photo to its group, on this or another page.

    Attributes:
        group: anchor of the group on this page, empty if it is on another.
    """

    name: str
    number: int
    box: Box | None
    href: str
    group: str

    @property
    def area(self) -> float:
        """Area of the box as a fraction of the photo; small boxes are drawn over large ones."""
        x0, y0, x1, y1 = self.box or (0.0, 0.0, 1.0, 1.0)
        return (x1 - x0) * (y1 - y0)


def cut_cards(group: Group, shown: int, *, with_rest: bool) -> Cards:
    """Return the cards of a group.

    Args:
        shown: number of cards that the shopper has asked for.
        with_rest: the shopper has asked for less similar products too.
    """
    offered = group.hits if with_rest else group.similar
    more = shown + PAGE_CARDS if len(offered) > shown else 0
    has_rest = not more and len(offered) < len(group.hits)
    return Cards(offered[:shown], more, has_rest, None if more or has_rest else group.next)


def list_groups(
    result: SearchResult,
    category_name: Callable[[str], str],
    *,
    framed: bool = False,
    further: bool = False,
) -> list[Group]:
    """List the groups: each object, then the whole photo; only one for a frame or a further page.

    Args:
        category_name: returns the name of a category in the reader's language.
        framed: the search was limited to a frame.
        further: the result is a further page of one group.
    """
    found = [_of_object(n, thing) for n, thing in enumerate(result.objects)]
    whole = Group("whole", _("Whole photo"), None, result.whole.hits, result.whole.next)
    whole = replace(whole, category=_sure_category(result.whole.category))
    if framed and found:
        return [replace(found[0], anchor=FRAME, name=_("Your frame"))]
    if further:
        return [replace(group, name=_("More products")) for group in (found or [whole])[:1]]
    return [*_named(found, category_name), whole] if found else [whole]


def _of_object(index: int, thing: FoundObject) -> Group:
    number = index + 1
    return Group(
        f"object-{number}",
        "",
        thing.box,
        thing.hits,
        thing.next,
        number,
        index,
        _sure_category(thing.category),
    )


def _sure_category(category: PredictedCategory | None) -> str:
    return category.value if category and category.confidence >= _MIN_CATEGORY_SHARE else ""


def _name(group: Group, category_name: Callable[[str], str]) -> str:
    title = group.best.title if group.best else ""
    category = category_name(group.category) if group.category else ""
    names = (title if len(title) <= _MAX_NAME_CHARS else "", category, _("Object"))
    return next(name for name in names if name)


def _named(groups: Sequence[Group], category_name: Callable[[str], str]) -> list[Group]:
    """Name objects by the title of their best match, else by their category; number those of one name."""
    names = [_name(group, category_name) for group in groups]
    total, seen = Counter(names), Counter[str]()
    named = []
    for group, name in zip(groups, names, strict=True):
        seen[name] += 1
        several = total[name] > 1
        named.append(replace(group, name=_numbered(name, seen[name]) if several else name))
    return named


def _numbered(name: str, number: int) -> str:
    if name == _("Object"):
        return str(_("Object %(number)s", number=number))
    return str(_("%(name)s %(number)s", name=name, number=number))


def list_marks(groups: Sequence[Group], page: str, known: Group | None) -> list[Mark]:
    """List the links to groups.

    Args:
        page: the address of their page, empty for this one.
        known: the group whose object this page shows in its frame.
    """
    return [
        Mark(
            group.name,
            group.number,
            group.box,
            f"{page}#{group.anchor}",
            FRAME if group is known else "" if page else group.anchor,
        )
        for group in groups
    ]


def find_group(groups: Sequence[Group], box: Box | None) -> Group | None:
    """Return the group with this box, that of the whole photo too; None if the frame was drawn otherwise."""
    for group in groups:
        edges = zip(box or (), group.box or WHOLE_BOX, strict=False)
        if box and all(abs(a - b) <= _SAME_EDGE for a, b in edges):
            return group
    return None


def all_hits(result: SearchResult) -> chain[Hit]:
    """Iterate over the hits of all groups."""
    return chain(*(thing.hits for thing in result.objects), result.whole.hits)
