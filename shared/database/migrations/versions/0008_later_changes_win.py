"""When the change of a product was accepted, and which products are gone: the later change wins."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

OPEN = sa.text("state IN ('queued', 'running')")


def upgrade() -> None:
    op.add_column("products", sa.Column("accepted_at", sa.Double(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("product_id", sa.String(64), nullable=True))
    op.add_column("jobs", sa.Column("accepted_at", sa.Double(), nullable=True))
    op.create_index(
        "ix_jobs_of_product",
        "jobs",
        ["catalogue_id", "product_id", "created_at"],
        postgresql_where=OPEN,
        sqlite_where=OPEN,
    )
    op.create_table(
        "deleted_products",
        sa.Column("catalogue_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.String(64), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["catalogue_id"],
            ["catalogues.id"],
            name=op.f("fk_deleted_products_catalogue_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("catalogue_id", "product_id", name=op.f("pk_deleted_products")),
    )
    op.create_index("ix_deleted_products_accepted_at", "deleted_products", ["accepted_at"])


def downgrade() -> None:
    op.drop_table("deleted_products")
    op.drop_index("ix_jobs_of_product", "jobs")
    for column in ("accepted_at", "product_id"):
        op.drop_column("jobs", column)
    op.drop_column("products", "accepted_at")
