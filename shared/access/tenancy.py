"""Find the catalogue and the owner of an id, to refuse ids of others."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BindParameter, bindparam, select

from shared.database import Database
from shared.database.catalogue_rows import display_name
from shared.database.tables import Catalogue, Feedback, Image, Job, Product, Search

# Built at import: constructing a statement costs more than executing it, and polls of searches use these.
_ID: BindParameter[str | int] = bindparam("id")
_SEARCH = (
    select(
        display_name.label("catalogue"),
        Search.owner,
        Search.photo_owner,
        Search.photo_shared,
        Search.query_key.is_not(None),
    )
    .join(Catalogue, Catalogue.id == Search.catalogue_id)
    .where(Search.id == _ID)
)
_JOB = select(display_name).join(Job, Job.catalogue_id == Catalogue.id).where(Job.id == _ID)
_IMAGE = (
    select(display_name)
    .join(Product, Product.catalogue_id == Catalogue.id)
    .join(Image, Image.product == Product.id)
    .where(Image.id == _ID)
)
_FEEDBACK = (
    select(display_name).join(Feedback, Feedback.catalogue_id == Catalogue.id).where(Feedback.id == _ID)
)


class SearchOwner(NamedTuple):
    """The catalogue of a search, and hashes of the keys or visitors that made it and sent its photo."""

    catalogue: str
    owner: str | None
    photo_owner: str | None
    photo_shared: bool
    has_photo: bool


class Tenancy:
    """Reads to whom ids belong; each method returns None for an unknown id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_search(self, search_id: str) -> SearchOwner | None:
        """Return catalogue and owner of a search."""
        with self._database.read_connection() as connection:
            row = connection.execute(_SEARCH, {"id": search_id}).one_or_none()
        return None if row is None else SearchOwner(*row)

    def of_job(self, job_id: str) -> str | None:
        """Return the catalogue of a job."""
        with self._database.read_connection() as connection:
            return connection.scalar(_JOB, {"id": job_id})

    def of_image(self, image_id: str) -> str | None:
        """Return the catalogue of a product picture."""
        with self._database.read_connection() as connection:
            return connection.scalar(_IMAGE, {"id": image_id})

    def of_feedback(self, feedback_id: int) -> str | None:
        """Return the catalogue of a feedback entry."""
        with self._database.read_connection() as connection:
            return connection.scalar(_FEEDBACK, {"id": feedback_id})
