"""What the owner of a catalogue wants of the order of its hits."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "rankings",
        sa.Column("catalogue_id", sa.Integer(), nullable=False),
        sa.Column("boosts", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["catalogue_id"],
            ["catalogues.id"],
            name=op.f("fk_rankings_catalogue_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("catalogue_id", name=op.f("pk_rankings")),
    )


def downgrade() -> None:
    op.drop_table("rankings")
