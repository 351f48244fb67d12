"""Catalogues that are being deleted, and how often unreferenced pictures were."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("catalogues", sa.Column("deleted_name", sa.String(48), nullable=True))
    op.create_table(
        "picture_sweeps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_picture_sweeps"),
    )
    op.execute("INSERT INTO picture_sweeps (id, count) VALUES (1, 0)")


def downgrade() -> None:
    op.drop_table("picture_sweeps")
    op.drop_column("catalogues", "deleted_name")
