"""Product ids of 128 bytes, and what the owner says of a manifest's columns."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
TABLES = (
    "products",
    "deleted_products",
    "golden_queries",
    "searches",
    "jobs",
    "job_items",
    "job_failures",
    "feedback",
    "duplicates",
)


def upgrade() -> None:
    op.add_column("catalogues", sa.Column("import_mapping", JSON, nullable=True))
    _set_length(128, 64)


def downgrade() -> None:
    _set_length(64, 128)
    op.drop_column("catalogues", "import_mapping")


def _set_length(length: int, before: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        # SQLite ignores the length of a text. Alembic would copy each table for it, and by dropping the
        # old one delete the rows that refer to it, so only the text of the schema changes.
        connection = op.get_bind()
        connection.exec_driver_sql("PRAGMA writable_schema=ON")
        for table in TABLES:
            connection.exec_driver_sql(
                "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = ?",
                (f"product_id VARCHAR({before})", f"product_id VARCHAR({length})", table),
            )
        connection.exec_driver_sql("PRAGMA writable_schema=RESET")
        return
    for table in TABLES:
        op.alter_column(table, "product_id", type_=sa.String(length), existing_type=sa.String(before))
