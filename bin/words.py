"""Collect the texts of the pages into web/locales, and compile the translations: `make words`.

`web/locales/messages.pot` has every msgid of web/*.py and web/templates; each language's `messages.po`
follows it. New texts have an empty translation until a translator fills it; removed texts are dropped.
`python bin/words.py --left` prints missing translations, as JSON by language.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from web.i18n import DEFAULT, LANGUAGES  # noqa: E402  # the path above makes it importable

LOCALES = ROOT / "web" / "locales"
_METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
_OPTIONS = {"templates/**.html": {"silent": "false"}}


def collect() -> Catalog:
    """Return the template catalogue: every msgid of the source, in the order of the files."""
    template = Catalog(project="Vitrine", charset="utf-8", fuzzy=False)
    found = extract_from_dir(
        ROOT / "web", _METHODS, _OPTIONS, keywords={"_": None, "gettext": None, "ngettext": (1, 2)}
    )
    for file, _line, message, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
        template.add(message, locations=[(f"web/{file}", None)], auto_comments=comments, context=context)
    return template


def path_of(language: str, ending: str = "po") -> Path:
    return LOCALES / language / "LC_MESSAGES" / f"messages.{ending}"


def load(language: str) -> Catalog:
    """Return a language's catalogue as it is written; an empty one when there is none yet."""
    path = path_of(language)
    if not path.exists():
        return Catalog(locale=language, project="Vitrine", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def po_text(catalogue: Catalog) -> bytes:
    """Return a catalogue as a file says it: without dates, which would change at every run."""
    out = io.BytesIO()
    write_po(out, catalogue, width=110, omit_header=False, sort_output=False, ignore_obsolete=True)
    lines = out.getvalue().decode().splitlines(keepends=True)
    dated = ('"POT-Creation-Date', '"PO-Revision-Date', '"Generated-By')
    return "".join(line for line in lines if not line.startswith(dated)).encode()


def mo_bytes(catalogue: Catalog) -> bytes:
    """Return a catalogue as gettext reads it."""
    out = io.BytesIO()
    plain = Catalog(locale=catalogue.locale, project="Vitrine", fuzzy=False)
    for message in catalogue:
        if message.id:
            plain.add(message.id, message.string, context=message.context)
    write_mo(out, plain)
    return _without_dates(out.getvalue())


def _without_dates(mo: bytes) -> bytes:
    """Blank the dates of the header in place: a file must not change unless its texts do."""
    for name in (b"POT-Creation-Date: ", b"PO-Revision-Date: "):
        at = mo.find(name)
        if at >= 0:
            end = mo.index(b"\n", at)
            begin = at + len(name)
            mo = mo[:begin] + b"-" * (end - begin) + mo[end:]
    return mo


def save(language: str, catalogue: Catalog) -> None:
    """Write the text and what is made of it."""
    path_of(language).parent.mkdir(parents=True, exist_ok=True)
    path_of(language).write_bytes(po_text(catalogue))
    path_of(language, "mo").write_bytes(mo_bytes(catalogue))


def left(catalogue: Catalog) -> list[str | list[str]]:
    """Return the msgids without a translation; one with a plural is a list of both forms."""
    missing = []
    for message in catalogue:
        strings = message.string if isinstance(message.string, (list, tuple)) else [message.string]
        if message.id and (message.fuzzy or not all(strings)):
            missing.append(list(message.id) if message.pluralizable else message.id)
    return missing


def main() -> None:
    template = collect()
    LOCALES.mkdir(exist_ok=True)
    (LOCALES / "messages.pot").write_bytes(po_text(template))
    open_: dict[str, list[str | list[str]]] = {}
    for language in LANGUAGES:
        if language == DEFAULT:
            continue
        catalogue = load(language)
        catalogue.update(template, no_fuzzy_matching=True)
        save(language, catalogue)
        open_[language] = left(catalogue)
    if "--left" in sys.argv[1:]:
        print(json.dumps(open_, ensure_ascii=False, indent=1))
        return
    for language, missing in open_.items():
        print(f"{language}: {len(template) - len(missing)} of {len(template)} texts are translated")


if __name__ == "__main__":
    main()
