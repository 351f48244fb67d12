"""Fill the catalogue's tables by the database itself, so that 100,000 products take seconds."""

from __future__ import annotations

from shared.database import Database

#: Row ids of the products begin behind it.
FIRST_ID = 1_000_000

#: An embedding of 256 ones in 16 bits.
_ONES = "003c" * 256
# What differs between the databases: rows n from 1, an image id of hexadecimal digits, an embedding.
_SQLITE = {
    "rows": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
    " SELECT n FROM s)",
    "image": "printf('%032x', (n * 2654435761) % 4294967296)",
    "blob": f"X'{_ONES}'",
    "json": "",
}
_POSTGRESQL = {
    "rows": "(SELECT n::bigint FROM generate_series(1, {count}) AS s(n)) AS s",
    "image": "lpad(to_hex((n * 2654435761) % 4294967296), 32, '0')",
    "blob": f"decode('{_ONES}', 'hex')",
    "json": "::jsonb",
}


def product_id(number: int) -> str:
    """Return the id of a product, by its number from 1."""
    return f"bulk{number}"


def create_catalogue(database: Database) -> None:
    """Write the row of a catalogue and of its live index version, both with id 1."""
    _execute(
        database,
        "INSERT INTO catalogues (id, name, currency, changes, created_at) VALUES (1, 'large', 'EUR', 0, 1)",
        "INSERT INTO model_versions (id, detector, embedder) VALUES (1, 'none', 'test')",
        "INSERT INTO index_versions (id, catalogue_id, number, collection, alias, detector, embedder,"
        " detector_name, embedder_name, dim, state, epoch, created_at)"
        " VALUES (1, 1, 1, 'large_1', 'large', 'none', 'test', 'none', 'test', 256, 'live', 0, 1)",
    )


def fill(database: Database, products: int, job_items: int = 0, searches: int = 1) -> None:
    """Fill catalogue 1, version 1: one picture and one object a product, an ended job, ended searches."""
    words = _SQLITE if database.is_sqlite else _POSTGRESQL
    js = words["json"]

    def rows(count: int) -> str:
        return words["rows"].format(count=count)

    row_id, title = f"n + {FIRST_ID}", "'{\"en\": \"A wooden chair number ' || n || '\"}'"
    _execute(
        database,
        "INSERT INTO products (id, catalogue_id, product_id, titles, category, categories, price,"
        " tags, attributes, facts, digest, change, updated_at, accepted_at)"
        f" SELECT {row_id}, 1, 'bulk' || n, ({title}){js}, 'chairs', '{{}}'{js}, n % 300, '[]'{js},"
        f" '{{\"colour\": \"red\"}}'{js}, '{{\"tags\": []}}'{js}, 'd' || n, n, 1, 1 FROM {rows(products)}",
        "INSERT INTO images (id, product, position, sha256, width, height, perceptual_hash)"
        f" SELECT {words['image']}, {row_id}, 0, {words['image']}, 48, 48, n * 2654435761"
        f" FROM {rows(products)}",
        "INSERT INTO detections (image_id, number, index_version, models, x0, y0, x1, y1, label, confidence,"
        f" embedding) SELECT {words['image']}, 0, 1, 1, 0, 0, 1, 1, 'whole', 1, {words['blob']}"
        f" FROM {rows(products)}",
        "INSERT INTO searches (id, state, catalogue_id, options, attempts, fence, lease_until, rung_at,"
        " created_at, started_at, finished_at, expires_at) SELECT 's' || n, 'succeeded', 1,"
        f" '{{}}'{js}, 1, 1, 0, 0, n, n, n, 4000000000 + n FROM {rows(searches)}",
    )
    if job_items:
        add_ended_job(database, "ended", job_items)


def add_ended_job(database: Database, job_id: str, items: int, finished_at: float = 2.0) -> None:
    """Write an import that succeeded, with its items, chunks of 100 and one failure a thousand."""
    words = _SQLITE if database.is_sqlite else _POSTGRESQL
    js = words["json"]

    def rows(count: int) -> str:
        return words["rows"].format(count=max(count, 1))

    _execute(
        database,
        "INSERT INTO jobs (id, kind, catalogue_id, state, phase, source, options, priority, total, new,"
        " changed, unchanged, deleted, failed, images, images_reused, image_failures, decode_s, detect_s,"
        " embed_s, write_s, paused_s, created_at, started_at, finished_at)"
        f" VALUES ('{job_id}', 'import', 1, 'succeeded', 'finish', '{{}}'{js}, '{{}}'{js}, 10, {items},"
        f" {items}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, {finished_at})",
        "INSERT INTO job_items (job_id, number, row, product_id, payload, state, attempts, result)"
        f" SELECT '{job_id}', n, n, 'bulk' || n, '{{\"product\": {{\"category\": \"chairs\"}}}}'{js}, 'done',"
        f" 0, 'new' FROM {rows(items)}",
        "INSERT INTO chunks (id, job_id, number, stage, priority, first, last, state, attempts, fence,"
        f" lease_until, rung_at) SELECT '{job_id}-' || n, '{job_id}', n, 'items', 10, 100 * n - 99, 100 * n,"
        f" 'done', 1, 1, 0, 0 FROM {rows(items // 100)}",
        "INSERT INTO job_failures (job_id, row, product_id, reason, message)"
        f" SELECT '{job_id}', n, 'bulk' || n, 'unreadable_image', 'It cannot be read.'"
        f" FROM {rows(items // 1000)}",
    )


def _execute(database: Database, *statements: str) -> None:
    with database.write_connection() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement if database.is_sqlite else statement.replace("%", "%%"))
