"""What filters ask of products, computed for those that are there already."""

from types import SimpleNamespace

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.filters import filter_fields

revision = "0003"
down_revision = "0002"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_PAGE = 1000


def upgrade() -> None:
    op.add_column("products", sa.Column("facts", JSON, nullable=False, server_default="{}"))
    described = [sa.column("titles", JSON), sa.column("tags", JSON), sa.column("attributes", JSON)]
    products = sa.table(
        "products", sa.column("id"), sa.column("currency"), *described, sa.column("facts", JSON)
    )
    connection = op.get_bind()
    after = 0
    while True:
        page = connection.execute(
            sa.select(products.c.id, products.c.currency, *described)
            .where(products.c.id > after)
            .order_by(products.c.id)
            .limit(_PAGE)
        ).all()
        if not page:
            return
        after = page[-1].id
        filled = [
            {"row": row.id, "new": filter_fields(SimpleNamespace(**row._mapping)).as_json()} for row in page
        ]
        connection.execute(
            sa.update(products)
            .where(products.c.id == sa.bindparam("row"))
            .values(facts=sa.bindparam("new", type_=JSON)),
            filled,
        )


def downgrade() -> None:
    op.drop_column("products", "facts")
