"""Create components from the settings, for all processes."""

from __future__ import annotations

from pydantic import SecretStr

from shared.database import Database
from shared.database.revisions import require_schema
from shared.images import CATALOGUE_FORMATS, DEFAULT_FORMATS, ImageLimits
from shared.imports.opening import ImportPermissions, ImportSources
from shared.retention.picture_sweep import PictureSweeper
from shared.sandbox.budget import CATALOGUE_SECONDS, SHOPPER_SECONDS, SHOPPER_WAIT_S, Budget, memory_for
from shared.sandbox.pool import PictureSandbox, shared_pool
from shared.settings import Settings
from shared.storage.file_systems import S3Access
from shared.storage.image_store import ImageStore


def open_database(settings: Settings, *, durable: bool = True) -> Database:
    """Open the database; ``durable`` as in ``Database``."""
    pool, busy_s = settings.database.pool_size, settings.database.busy_timeout_s
    return Database(settings.database_url, pool, busy_s, durable=durable)


def open_migrated_database(settings: Settings, *, durable: bool = True) -> Database:
    """Open the database if its schema is this program's.

    Raises:
        Misconfigured: the schema is newer than this program knows, or older than it requires.
        DatabaseUnavailable: the database cannot be reached.
    """
    database = open_database(settings, durable=durable)
    try:
        require_schema(database)
    except BaseException:
        database.close()
        raise
    return database


def open_image_store(settings: Settings) -> ImageStore:
    """Open the image store.

    Raises:
        Misconfigured: the address is of an unknown kind.
        StorageUnavailable: the folder cannot be created.
    """
    images = settings.images
    return ImageStore(
        settings.image_store_url, images.s3_endpoint, reveal(images.s3_key), reveal(images.s3_secret)
    )


def open_picture_sweeper(settings: Settings, database: Database, store: ImageStore) -> PictureSweeper:
    """Create the sweeper of pictures that no product refers to."""
    return PictureSweeper(database, store, settings.sweep.pictures_after_s, settings.jobs.keep_import_s)


def open_import_sources(settings: Settings, store: ImageStore) -> ImportSources:
    """Create the opener of import sources; nothing is opened yet."""
    images, jobs = settings.images, settings.jobs
    return ImportSources(
        store,
        S3Access(images.s3_endpoint, reveal(images.s3_key), reveal(images.s3_secret)),
        ImportPermissions(
            roots=jobs.import_roots,
            addresses=settings.web.url_import,
            max_image_bytes=images.max_bytes,
            max_import_bytes=jobs.max_import_bytes,
        ),
    )


def image_limits(settings: Settings, *, catalogue: bool) -> ImageLimits:
    """Return the limits of pictures: a catalogue may have formats and sizes that no shopper needs."""
    images = settings.images
    return ImageLimits(
        max_bytes=images.max_bytes,
        max_pixels=images.max_pixels if catalogue else min(images.query_max_pixels, images.max_pixels),
        max_jpeg_pixels=images.max_pixels,
        max_side_px=images.max_side_px,
        formats=CATALOGUE_FORMATS if catalogue else DEFAULT_FORMATS,
    )


def open_picture_sandbox(
    settings: Settings,
    children: int,
    *,
    catalogue: bool,
    wait_s: float = SHOPPER_WAIT_S,
    max_waiting: int | None = None,
) -> PictureSandbox:
    """Create the sandbox that decodes pictures in child processes, which all sandboxes share.

    Args:
        children: maximum number of pictures decoded concurrently.
        wait_s: maximum wait for a free child.
        max_waiting: maximum number of threads that wait for a child.
    """
    limits = image_limits(settings, catalogue=catalogue)
    cpu_s, wall_s = CATALOGUE_SECONDS if catalogue else SHOPPER_SECONDS
    budget = Budget(memory_for(limits.max_pixels), cpu_s, wall_s)
    return PictureSandbox(shared_pool(children, max_waiting), limits, budget, wait_s)


def reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
