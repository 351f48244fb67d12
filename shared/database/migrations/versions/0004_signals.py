"""Pairs of duplicates, feedback with its photo, exact answers to live searches, and what stages took."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "duplicate_pairs",
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("left_product", sa.Integer(), nullable=False),
        sa.Column("right_product", sa.Integer(), nullable=False),
        sa.Column("left_image", sa.String(32), nullable=False),
        sa.Column("right_image", sa.String(32), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        _to("duplicate_pairs", "job_id", "jobs.id"),
        sa.PrimaryKeyConstraint("job_id", "left_product", "right_product", name="pk_duplicate_pairs"),
    )
    op.create_index("ix_duplicate_pairs_right", "duplicate_pairs", ["job_id", "right_product"])
    for column in _of_feedback():
        op.add_column("feedback", column)
    op.create_index("ix_feedback_key", "feedback", ["key"], unique=True)
    op.create_index("ix_feedback_photo", "feedback", ["photo"])
    op.create_table(
        "probe_queries",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("catalogue_id", sa.Integer(), nullable=False),
        sa.Column("index_version", sa.Integer(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("keys", JSON, nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        _to("probe_queries", "catalogue_id", "catalogues.id"),
        _to("probe_queries", "index_version", "index_versions.id"),
        sa.PrimaryKeyConstraint("id", name="pk_probe_queries"),
    )
    op.create_table(
        "search_timings",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.Column("stages", JSON, nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_search_timings"),
    )
    op.create_index("ix_search_timings_finished_at", "search_timings", ["finished_at"])
    op.create_index("ix_search_timings_counted", "search_timings", ["counted"])
    op.create_table(
        "stage_counts",
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "bucket", name="pk_stage_counts"),
    )


def _of_feedback() -> list[sa.Column[Any]]:
    return [
        sa.Column("photo", sa.String(64), nullable=True),
        sa.Column("box", JSON, nullable=True),
        sa.Column("key", sa.String(32), nullable=True),
    ]


def _to(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete="CASCADE")


def downgrade() -> None:
    for table in ("stage_counts", "search_timings", "probe_queries", "duplicate_pairs"):
        op.drop_table(table)
    for name in ("ix_feedback_key", "ix_feedback_photo"):
        op.drop_index(name, "feedback")
    for column in _of_feedback():
        op.drop_column("feedback", column.name)
