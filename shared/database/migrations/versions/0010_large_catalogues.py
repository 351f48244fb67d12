"""Indexes for catalogues of a million products, and the time at which an ended job's rows were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_IS_RUNNING = sa.text("state = 'running'")
_KEEPS_ROWS = sa.text("finished_at IS NOT NULL AND rows_deleted_at IS NULL")


def upgrade() -> None:
    op.create_index("ix_detections_of_version", "detections", ["index_version", "image_id", "number"])
    op.create_index("ix_products_of_catalogue", "products", ["catalogue_id", "id"])
    op.create_index("ix_job_failures_of_product", "job_failures", ["job_id", "product_id"])
    op.create_index(
        "ix_chunks_running",
        "chunks",
        ["lease_until"],
        sqlite_where=_IS_RUNNING,
        postgresql_where=_IS_RUNNING,
    )
    op.add_column("jobs", sa.Column("rows_deleted_at", sa.Double(), nullable=True))
    op.create_index(
        "ix_jobs_with_rows",
        "jobs",
        ["finished_at"],
        sqlite_where=_KEEPS_ROWS,
        postgresql_where=_KEEPS_ROWS,
    )
    # SQLite preferred it to the primary key, and read a whole index version for each search. The first new
    # index replaces it. Programs of version 0.2 name no index, so they run with either.
    op.drop_index("ix_detections_index_version", "detections")


def downgrade() -> None:
    op.create_index("ix_detections_index_version", "detections", ["index_version"])
    op.drop_index("ix_jobs_with_rows", "jobs")
    op.drop_column("jobs", "rows_deleted_at")
    op.drop_index("ix_chunks_running", "chunks")
    op.drop_index("ix_job_failures_of_product", "job_failures")
    op.drop_index("ix_products_of_catalogue", "products")
    op.drop_index("ix_detections_of_version", "detections")
