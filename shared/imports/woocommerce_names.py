"""English names of WooCommerce's columns: its export writes them in the language of the shop.

Source: WooCommerce's product exporter, and its translations.
"""

from __future__ import annotations

import re
from typing import Final

#: English name, and what exports in German, French, Spanish, Italian and Dutch call the column, folded.
_TRANSLATIONS: Final[dict[str, tuple[str, ...]]] = {
    "type": ("typ", "tipo"),
    "sku": ("artikelnummer", "ugs", "cod"),
    "gtin, upc, ean, or isbn": (
        *("gtin, upc, ean oder isbn", "gtin, upc, ean, ou isbn", "gtin, upc, ean ou isbn"),
        *("gtin, upc, ean o isbn", "gtin, upc, ean of isbn"),
    ),
    "name": ("nom", "nombre", "nome", "naam"),
    "visibility in catalog": (
        *("sichtbarkeit im katalog", "visibilité dans le catalogue", "visibilidad en el catálogo"),
        *("visibilità nel catalogo", "zichtbaarheid in catalogus"),
    ),
    "is featured?": (
        *("ist hervorgehoben?", "mis en avant ?", "¿está destacado?", "in primo piano?", "uitgelicht?"),
    ),
    "tax status": ("steuerstatus", "état de la tva", "estado del impuesto", "btw status"),
    "in stock?": (
        *("auf lager?", "vorrätig?", "en stock ?", "en stock?", "¿existencias?", "¿en inventario?"),
        *("¿hay existencias?", "in magazzino?", "op voorraad?"),
    ),
    "sale price": ("angebotspreis", "tarif promo", "precio rebajado", "prezzo in offerta", "actieprijs"),
    "regular price": (
        *("regulärer preis", "tarif régulier", "precio normal", "prezzo di listino", "reguliere prijs"),
    ),
    "categories": ("kategorien", "catégories", "categorías", "categorie", "categorieën"),
    "tags": ("schlagwörter", "étiquettes", "etiquetas", "tag"),
    "images": ("bilder", "imágenes", "immagini", "afbeeldingen"),
    "description": ("beschreibung", "descripción", "descrizione", "beschrijving"),
    "parent": ("übergeordnet", "übergeordnetes produkt", "superior", "genitore", "hoofd"),
    "external url": ("externe url", "url externe", "url externa", "url esterno"),
}
_ENGLISH: Final = {name: english for english, names in _TRANSLATIONS.items() for name in names}
_ATTRIBUTE: Final = re.compile(
    r"(?:(?P<what>nom|nombre|nome|naam|valeur|valor|valore|waarde)\S* (?:de l'|del |dell')?)?"
    r"att?ribu\w* (?P<number>\d{1,3})(?: (?P<after>name|wert|sichtbar|global)\S*)?"
)
_NAMES: Final = frozenset(("nom", "nombre", "nome", "naam", "name"))


def to_english(name: str) -> str:
    """Return the English name of a column, whose own name is folded; other names as they are."""
    found = _ATTRIBUTE.fullmatch(name.replace("\u2019", "'"))
    if found is None:
        return _ENGLISH.get(name, name)
    what = found["what"] or found["after"]
    if what is None or what in ("sichtbar", "global"):
        return name
    return f"attribute {found['number']} {'name' if what in _NAMES else 'value(s)'}"
