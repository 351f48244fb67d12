"""How urgent a job is, when it last had a worker, who asked for it, and why it does not go on."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

OPEN = sa.text("state IN ('queued', 'running')")


def upgrade() -> None:
    # 10 is that of bulk work: also for what processes of the previous version still insert.
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="10"))
    op.add_column("jobs", sa.Column("claimed_at", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("caller", sa.String(64), nullable=True))
    op.add_column("jobs", sa.Column("waits_for", sa.Text(), nullable=True))
    op.execute(
        "UPDATE jobs SET priority = coalesce("
        "(SELECT min(chunks.priority) FROM chunks WHERE chunks.job_id = jobs.id), 10) "
        "WHERE state IN ('queued', 'running', 'paused')"
    )
    op.create_index(
        "ix_jobs_open",
        "jobs",
        ["catalogue_id", "priority", "created_at"],
        postgresql_where=OPEN,
        sqlite_where=OPEN,
    )
    op.create_index("ix_jobs_turn", "jobs", ["catalogue_id", "claimed_at"])
    op.create_index("ix_chunks_of_job", "chunks", ["job_id", "state", "number"])


def downgrade() -> None:
    op.drop_index("ix_chunks_of_job", "chunks")
    op.drop_index("ix_jobs_turn", "jobs")
    op.drop_index("ix_jobs_open", "jobs")
    for column in ("waits_for", "caller", "claimed_at", "priority"):
        op.drop_column("jobs", column)
