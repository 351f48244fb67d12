"""A shared search in the language of who opens it, whoever made it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update

from shared.database.tables import Product
from tests.web_builders import open_shop, upload


def test_titles_are_in_the_language_of_who_reads(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    sent = shop.client.post("/s", headers={"Accept": "text/html"}, **upload(catalogue="demo", locale="en"))
    shop.answer_all()

    def page(tag: str) -> str:
        return shop.client.get(sent.headers["Location"], headers={"Accept-Language": tag}).text

    assert "Oak chair" in page("en")
    assert "Eichenstuhl" in page("de-AT")
    assert "Eichenstuhl" not in page("fr")
    # No page speaks Estonian, but the catalogue does from now on; titles are text, not markup.
    with shop.parts.database.write() as session:
        session.execute(update(Product).values(titles={"en": "Oak chair", "et": "<b>Tamm</b>"}))
    assert "&lt;b&gt;Tamm&lt;/b&gt;" in page("et, fi;q=0.5")
    assert "Oak chair" in page("de")
    # A product that has left the catalogue keeps the title that was found.
    with shop.parts.database.write() as session:
        session.execute(update(Product).values(product_id="other"))
    assert "Oak &lt;chair&gt;" in page("de")
