"""Pictures are counted without a join with the largest catalogue: the numbers stay exact."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import func, select

from shared.catalogue.counts import CatalogueCounts
from shared.database import Database
from shared.database.tables import Catalogue, Image, Product
from tests.compat.rows import bare_product


def add_product(database: Database, catalogue: int, number: int, images: int) -> None:
    with database.write() as session:
        product = bare_product(catalogue, f"p{number}")
        session.add(product)
        session.flush()
        for position in range(images):
            key = f"{number:016x}{position:016x}"
            session.add(
                Image(id=key, product=product.id, position=position, sha256=key * 2, width=1, height=1)
            )


@pytest.mark.parametrize(
    "sizes",
    [(), (0,), (3, 0), (9, 1), (1, 9), (2, 2, 2), (0, 0, 5)],
    ids=lambda sizes: "-".join(map(str, sizes)),
)
def test_counts_are_exact_whichever_catalogue_is_largest(database: Database, sizes: tuple[int, ...]) -> None:
    with database.write() as session:
        rows = [Catalogue(name=f"c{n}", created_at=1.0) for n in range(len(sizes))]
        # The last one is deleted: it is not asked for, and its pictures are no other catalogue's.
        rows.append(Catalogue(name="gone", deleted_name="gone-name", created_at=1.0))
        session.add_all(rows)
        session.flush()
        ids = [row.id for row in rows]
    number, chance = 0, random.Random(len(sizes))
    for catalogue, size in zip(ids, (*sizes, 2), strict=True):
        for _ in range(size):
            number += 1
            add_product(database, catalogue, number, chance.randrange(4))
    with database.read() as session:
        asked = [session.get_one(Catalogue, each) for each in ids[:-1]]
        counted = CatalogueCounts().of(session, asked)
        for catalogue in ids[:-1]:
            of_it = select(func.count()).select_from(Product).where(Product.catalogue_id == catalogue)
            images = session.scalar(of_it.join(Image, Image.product == Product.id))
            assert (counted[catalogue].products, counted[catalogue].images) == (session.scalar(of_it), images)
