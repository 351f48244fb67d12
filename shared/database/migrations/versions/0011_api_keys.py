"""API keys as rows, and the owners of searches."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("prefix", sa.String(8), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("catalogues", JSON, nullable=True),
        sa.Column("origins", JSON, nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.String(8), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
    )
    op.create_table(
        "deleted_searches",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("deleted_at", sa.Double(), nullable=False),
    )
    op.create_index("ix_deleted_searches_deleted_at", "deleted_searches", ["deleted_at"])
    op.add_column("searches", sa.Column("owner", sa.String(32), nullable=True))
    op.add_column(
        "searches",
        sa.Column("photo_shared", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    op.drop_column("searches", "photo_shared")
    op.drop_column("searches", "owner")
    op.drop_table("deleted_searches")
    op.drop_table("api_keys")
