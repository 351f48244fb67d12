"""Reads product feeds in XML: RSS 2.0, Atom, and lists of product elements, with or without ``g:`` names.

The parser refuses document types and entities, which is all that an XML bomb or a stolen file needs. It
reads piece by piece and keeps one product at a time.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from shared.errors import InvalidManifest
from shared.imports.records import Numbered
from shared.imports.text import MAX_LINE

#: Elements that are a product each: RSS, Atom, and what other shops call it.
ITEM_NAMES: Final = frozenset(("item", "entry", "product", "offer", "shopitem", "produkt", "artikel"))
_PIECE_BYTES: Final = 64 * 1024
_DECLARED: Final = re.compile(rb"""<\?xml[^>]{1,100}?encoding\s*=\s*(["'])([A-Za-z0-9._-]{1,40})\1""")
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Declared encodings that the parser reads itself; others are decoded before.
_EXPAT_ENCODINGS: Final = frozenset(("utf-8", "utf-16", "iso-8859-1", "us-ascii"))
_MAX_DEPTH: Final = 32
#: Bytes that may pass without an element beginning or ending: a tag of a gigabyte would be kept whole.
_MAX_SILENT_BYTES: Final = 8_000_000
_MAX_CHILDREN: Final = 2_000


def xml_records(file: BinaryIO, name: str) -> Iterator[Numbered]:
    """Yield the products of a feed, numbered by the lines where they begin.

    A child element is a cell by its name without prefix; several of one name are a list; one with children
    is an object. A name with a prefix, as ``g:title``, goes before the same name without one.

    Raises:
        InvalidManifest: it is not well-formed, declares a document type, or holds no product.
    """
    feed = _Feed(name)
    for piece in _pieces(file, name):
        yield from feed.read(piece)
    yield from feed.read(b"", is_last=True)
    if not feed.count:
        raise InvalidManifest(
            f"{name} is XML without products: they are elements called {', '.join(sorted(ITEM_NAMES))}."
        )


def _pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the bytes of a feed from its first element or declaration, in an encoding that expat reads."""
    head = file.read(_PIECE_BYTES)
    if not head.startswith(_UTF_16):
        head = head.removeprefix(codecs.BOM_UTF8)
        if head.lstrip().startswith(b"<?xml"):
            head = head.lstrip()  # exporters print empty lines before the declaration
    declared = _DECLARED.match(head)
    label = declared[2].decode("ascii") if declared is not None else "utf-8"
    if label.lower() in _EXPAT_ENCODINGS:
        yield head
        while piece := file.read(_PIECE_BYTES):
            yield piece
        return
    try:
        "".encode(label)  # refuses codecs of Python that are no text encodings, such as zlib
        decoder = codecs.getincrementaldecoder(label)()
        yield decoder.decode(head).replace(label, "utf-8", 1).encode()
        while piece := file.read(_PIECE_BYTES):
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", True).encode()
    except (LookupError, UnicodeError, AttributeError) as error:
        raise InvalidManifest(f"{name} is not text in its encoding {label!r}: save it as UTF-8.") from error


class _Feed:
    """A parser and the product that it reads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done: list[Numbered] = []
        self._path: list[_Element] = []
        self._item: _Element | None = None
        self._depth = self._silent_bytes = 0
        self.count = 0
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        self._parser = parser

    def read(self, piece: bytes, *, is_last: bool = False) -> list[Numbered]:
        """Parse a piece; return the products that end in it."""
        self._silent_bytes += len(piece)
        if self._silent_bytes > _MAX_SILENT_BYTES:
            raise InvalidManifest(f"{self._name} has a text of over {_MAX_SILENT_BYTES:,} bytes: shorten it.")
        try:
            self._parser.Parse(piece, is_last)
        except expat.ExpatError as error:
            raise InvalidManifest(
                f"{self._name} is not well-formed XML in line {error.lineno}: "
                f"{expat.ErrorString(error.code)}."
            ) from error
        except (UnicodeError, LookupError, ValueError) as error:
            raise InvalidManifest(
                f"{self._name} has an encoding that is not read: save it as UTF-8."
            ) from error
        done, self._done = self._done, []
        return done

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._silent_bytes = 0
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidManifest(f"{self._name} nests elements deeper than {_MAX_DEPTH}.")
        prefix, _, local = tag.rpartition(":")
        if self._item is None:
            if local.lower() in ITEM_NAMES:
                self._item = _Element(local, bool(prefix), attributes, self._parser.CurrentLineNumber)
                self._path = [self._item]
            return
        element = _Element(local, bool(prefix), attributes, self._parser.CurrentLineNumber)
        self._path[-1].add(element, self._item)
        self._path.append(element)

    def _end(self, tag: str) -> None:
        self._silent_bytes = 0
        self._depth -= 1
        if self._item is None:
            return
        element = self._path.pop()
        if element is self._item:
            self.count += 1
            self._done.append((element.line, element.record()))
            self._item = None

    def _text(self, text: str) -> None:
        if self._item is not None:
            self._path[-1].add_text(text, self._item)

    def _refuse(self, *_: Any) -> None:
        raise InvalidManifest(
            f"{self._name} declares a document type or an entity, which is refused: save the feed without "
            "<!DOCTYPE ...>."
        )


class _Element:
    """An element of a product, or the product itself."""

    def __init__(self, name: str, has_prefix: bool, attributes: dict[str, str], line: int) -> None:
        self.name = name
        self.has_prefix = has_prefix
        self.attributes = attributes
        self.line = line
        self.size = self.count = 0
        self.children: list[_Element] = []
        self._texts: list[str] = []

    def add(self, child: _Element, item: _Element) -> None:
        item.count += 1
        item.size += sum(len(value) for value in child.attributes.values())
        if item.count <= _MAX_CHILDREN:
            self.children.append(child)

    def add_text(self, text: str, item: _Element) -> None:
        item.size += len(text)
        if item.size <= MAX_LINE:
            self._texts.append(text)

    def record(self) -> dict[str, Any] | str:
        """Return the cells of a product, or its error."""
        if self.size > MAX_LINE:
            return f"This product has more than {MAX_LINE:,} characters."
        if self.count > _MAX_CHILDREN:
            return f"This product has more than {_MAX_CHILDREN:,} elements."
        cells = self._cells()
        for key in ("id", "group_id"):
            # Yandex, Heureka and others write the id as an attribute of the element.
            if key in self.attributes:
                cells.setdefault(key, self.attributes[key])
        return cells

    def _cells(self) -> dict[str, Any]:
        prefixed = {child.name for child in self.children if child.has_prefix}
        cells: dict[str, Any] = {}
        for child in self.children:
            if child.name in prefixed and not child.has_prefix:
                continue
            name, value = child.cell()
            if value is None or value == "":
                continue
            if name not in cells:
                cells[name] = value
            elif isinstance(cells[name], list):
                cells[name].append(value)
            else:
                cells[name] = [cells[name], value]
        return cells

    def cell(self) -> tuple[str, Any]:
        """Return the name and value of a child."""
        text = "".join(self._texts).strip()
        if self.name.lower() == "param" and (named := self.attributes.get("name", "").strip()):
            return named, text
        if self.children:
            inner = self._cells()
            return self.name, inner if not text else {**inner, "text": text}
        if not text and self.name == "link":
            # Atom: the page is the alternate one; others are the feed's own.
            is_page = self.attributes.get("rel", "alternate") == "alternate"
            return self.name, self.attributes.get("href") if is_page else None
        if not text:
            text = next(
                (self.attributes[key] for key in ("href", "url", "src") if key in self.attributes), ""
            )
        return self.name, text
