"""Re-processing, job control, webhooks, calibration, feedback, duplicates.

Columns are added without rebuilding a table: on SQLite a rebuild would drop the rows that refer to it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _make_tables()
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    op.create_index("ix_products_change", "products", ["catalogue_id", "change"])
    op.execute("UPDATE chunks SET stage = 'plan' WHERE number = 0")
    # Every detection so far was made by the models of its index version.
    op.execute(
        "INSERT INTO model_versions (detector, embedder) "
        "SELECT DISTINCT detector, embedder FROM index_versions"
    )
    op.execute(
        "UPDATE detections SET models = (SELECT m.id FROM model_versions m JOIN index_versions v "
        "ON v.detector = m.detector AND v.embedder = m.embedder WHERE v.id = detections.index_version)"
    )


def _make_tables() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("detector", sa.String(128), nullable=False),
        sa.Column("embedder", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_versions"),
        sa.UniqueConstraint("detector", "embedder", name="uq_model_versions_detector"),
    )
    op.create_table(
        "golden_queries",
        sa.Column("id", sa.String(36), nullable=False),
        _catalogue(),
        sa.Column("product_id", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("box", JSON, nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        _to_catalogues("golden_queries"),
        sa.PrimaryKeyConstraint("id", name="pk_golden_queries"),
    )
    op.create_index("ix_golden_queries_catalogue_id", "golden_queries", ["catalogue_id"])
    op.create_table(
        "calibrations",
        sa.Column("index_version", sa.Integer(), nullable=False),
        sa.Column("curves", JSON, nullable=False),
        sa.Column("report", JSON, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        _to("calibrations", "index_version", "index_versions.id"),
        sa.PrimaryKeyConstraint("index_version", name="pk_calibrations"),
    )
    _make_webhooks()
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _catalogue(),
        sa.Column("search_id", sa.String(36), nullable=False),
        sa.Column("object_number", sa.Integer(), nullable=True),
        sa.Column("product_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        _to_catalogues("feedback"),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_catalogue", "feedback", ["catalogue_id", "created_at"])
    op.create_table(
        "probes",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        _catalogue(),
        sa.Column("index_version", sa.Integer(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("recall", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        _to_catalogues("probes"),
        _to("probes", "index_version", "index_versions.id"),
        sa.PrimaryKeyConstraint("id", name="pk_probes"),
    )
    op.create_index("ix_probes_catalogue", "probes", ["catalogue_id", "created_at"])
    op.create_table(
        "duplicates",
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("group_number", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.String(64), nullable=False),
        sa.Column("image_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("keep", sa.Boolean(), nullable=False),
        _to("duplicates", "job_id", "jobs.id"),
        sa.PrimaryKeyConstraint("job_id", "group_number", "product_id", name="pk_duplicates"),
    )


def _make_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("catalogue", sa.String(48), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("webhook_id", sa.String(36), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        _to("deliveries", "webhook_id", "webhooks.id"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_webhook_id", "deliveries", ["webhook_id"])
    op.create_index("ix_deliveries_waiting", "deliveries", ["state", "not_before"])


def _catalogue() -> sa.Column[Any]:
    return sa.Column("catalogue_id", sa.Integer(), nullable=False)


def _to_catalogues(table: str) -> sa.ForeignKeyConstraint:
    return _to(table, "catalogue_id", "catalogues.id")


def _to(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete="CASCADE")


def downgrade() -> None:
    tables = "duplicates probes feedback deliveries webhooks calibrations golden_queries model_versions"
    for table in tables.split():
        op.drop_table(table)
    op.drop_index("ix_products_change", "products")
    for name, columns in _added().items():
        for column in columns:
            op.drop_column(name, column.name)


def _added() -> dict[str, list[sa.Column[Any]]]:
    """New columns by table."""
    return {
        "catalogues": [sa.Column("changes", sa.BigInteger(), nullable=False, server_default="0")],
        "products": [sa.Column("change", sa.BigInteger(), nullable=False, server_default="0")],
        "index_versions": [
            sa.Column("beside", sa.String(128), nullable=True),  # prose: ignore
            sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("stale_since", sa.BigInteger(), nullable=True),
            sa.Column("beside_since", sa.BigInteger(), nullable=True),
            sa.Column("detector_name", sa.Text(), nullable=False, server_default=""),
            sa.Column("embedder_name", sa.Text(), nullable=False, server_default=""),
            sa.Column("job_id", sa.String(36), nullable=True),
            sa.Column("report", JSON, nullable=True),
            sa.Column("promoted_at", sa.Double(), nullable=True),
            sa.Column("retired_at", sa.Double(), nullable=True),
        ],
        "images": [sa.Column("perceptual_hash", sa.BigInteger(), nullable=True)],
        "detections": [
            sa.Column("models", sa.Integer(), nullable=True),
            sa.Column("colours", JSON, nullable=True),
        ],
        "searches": [
            sa.Column("more_photos", JSON, nullable=True),
            sa.Column("objects", JSON, nullable=True),
            sa.Column("embeddings", sa.LargeBinary(), nullable=True),
            sa.Column("models", sa.Integer(), nullable=True),
        ],
        "jobs": [
            sa.Column("phase", sa.String(16), nullable=False, server_default="work"),
            sa.Column("options", JSON, nullable=False, server_default="{}"),
            sa.Column("report", JSON, nullable=True),
            sa.Column("index_version", sa.Integer(), nullable=True),
            sa.Column("retry_of", sa.String(36), nullable=True),
            *(
                sa.Column(f"{stage}_s", sa.Double(), nullable=False, server_default="0")
                for stage in ("decode", "detect", "embed", "write")
            ),
            sa.Column("images_reused", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("pace", JSON, nullable=True),
            sa.Column("paused_at", sa.Double(), nullable=True),
            sa.Column("paused_s", sa.Double(), nullable=False, server_default="0"),
        ],
        "chunks": [sa.Column("stage", sa.String(8), nullable=False, server_default="items")],
        "job_items": [
            sa.Column("result", sa.String(16), nullable=True),
            sa.Column("reason", sa.String(64), nullable=True),
        ],
    }
