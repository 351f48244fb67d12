"""Read groups of duplicates, which a job of the catalogue lane finds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.catalogue.display import choose_title, image_url
from shared.catalogue.store import load_images
from shared.contracts.duplicates import DuplicateGroup, DuplicateKind, DuplicatePage, DuplicateProduct
from shared.contracts.states import JobKind, JobState
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import to_datetime
from shared.database.tables import Duplicate, Image, Job, Product
from shared.errors import Expired, InvalidInput

#: Kind of the job; its options are a ``shared.contracts.duplicates.DuplicatesRequest``.
KIND = JobKind.DUPLICATES
MAX_PAGE = 100
_CURSOR = re.compile(r"([0-9a-f-]{36}):(\d{1,9})")


class DuplicateRepository:
    """Reads the groups of the last successful job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def groups(
        self,
        catalogue: str,
        kind: DuplicateKind | None = None,
        cursor: str | None = None,
        limit: int = 50,
        locale: str = "en",
    ) -> DuplicatePage:
        """Return a page of groups by number, exact ones first.

        Products deleted since, and groups with one remaining product, are left out. A page may therefore be
        shorter than ``limit``; only ``next_cursor`` shows whether there are more.

        Args:
            cursor: ``next_cursor`` of the previous page; it refers to that page's job.

        Raises:
            UnknownCatalogue.
            InvalidInput: the cursor is malformed.
            Expired: the groups of the cursor's job were replaced.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            job, after = _begin(session, catalogue_row.id, cursor)
            if job is None:
                return DuplicatePage(job_id=None, found_at=None, groups=[], next_cursor=None)
            of_kind = [] if kind is None else [Duplicate.kind == kind]
            numbers = list(
                session.scalars(
                    select(Duplicate.group_number)
                    .where(Duplicate.job_id == job.id, Duplicate.group_number > after, *of_kind)
                    .group_by(Duplicate.group_number)
                    .order_by(Duplicate.group_number)
                    .limit(limit + 1)
                )
            )
            groups = _load_groups(session, catalogue_row.id, job.id, numbers[:limit], locale)
        following = f"{job.id}:{numbers[limit - 1]}" if len(numbers) > limit else None
        return DuplicatePage(
            job_id=job.id, found_at=to_datetime(job.finished_at), groups=groups, next_cursor=following
        )

    def iterate_all(self, catalogue: str, kind: DuplicateKind | None = None) -> Iterator[DuplicateGroup]:
        """Yield all groups, page by page. Raises as ``groups``."""
        cursor: str | None = None
        while True:
            page = self.groups(catalogue, kind, cursor, MAX_PAGE)
            yield from page.groups
            if (cursor := page.next_cursor) is None:
                return


def last_job(session: Session, catalogue_id: int) -> Job | None:
    """Return the last successful job, or None."""
    found: Job | None = session.scalar(
        select(Job)
        .where(Job.catalogue_id == catalogue_id, Job.kind == KIND, Job.state == JobState.SUCCEEDED)
        .order_by(Job.finished_at.desc())
        .limit(1)
    )
    return found


def _begin(session: Session, catalogue_id: int, cursor: str | None) -> tuple[Job | None, int]:
    """Return the job that a cursor refers to, and the number of the last group before the page."""
    if cursor is None:
        return last_job(session, catalogue_id), 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidInput("cursor: send the `next_cursor` of an earlier answer unchanged.", "cursor")
    job = session.get(Job, match[1])
    if job is None or job.catalogue_id != catalogue_id or not _has_groups(session, job.id):
        raise Expired("A newer job has replaced these duplicates: start with the first page.", "cursor")
    return job, int(match[2])


def _has_groups(session: Session, job_id: str) -> bool:
    return bool(session.scalar(select(func.count()).where(Duplicate.job_id == job_id)))


def _load_groups(
    session: Session, catalogue_id: int, job_id: str, numbers: Sequence[int], locale: str
) -> list[DuplicateGroup]:
    members: dict[int, list[tuple[Duplicate, Product]]] = defaultdict(list)
    rows = session.execute(
        select(Duplicate, Product)
        .join(Product, (Product.catalogue_id == catalogue_id) & (Product.product_id == Duplicate.product_id))
        .where(Duplicate.job_id == job_id, Duplicate.group_number.in_(numbers))
        .order_by(Duplicate.group_number, Duplicate.keep.desc(), Duplicate.score.desc(), Duplicate.product_id)
    )
    for member, product in rows:
        members[member.group_number].append((member, product))
    pictures = _load_image_urls(session, [each for group in members.values() for each in group])
    return [
        DuplicateGroup.model_validate(
            {
                "id": str(number),
                "kind": group[0][0].kind,
                "products": [_product(member, row, pictures, locale) for member, row in group],
                # The first remaining product if the one to keep was deleted.
                "keep": group[0][0].product_id,
            }
        )
        for number, group in members.items()
        if len(group) > 1
    ]


def _load_image_urls(
    session: Session, members: Sequence[tuple[Duplicate, Product]]
) -> dict[tuple[int, str], str]:
    """Return the URL of each member's picture, or of another picture of its product if that was deleted."""
    image_ids = {member.image_id for member, _ in members}
    existing = set(session.scalars(select(Image.id).where(Image.id.in_(image_ids))))
    lost = [row.id for member, row in members if member.image_id not in existing]
    others = load_images(session, lost) if lost else {}
    found: dict[tuple[int, str], str] = {}
    for member, row in members:
        if member.image_id in existing:
            found[row.id, member.image_id] = image_url(member.image_id)
        elif others.get(row.id):
            found[row.id, member.image_id] = image_url(others[row.id][0].id)
    return found


def _product(
    member: Duplicate, row: Product, pictures: dict[tuple[int, str], str], locale: str
) -> DuplicateProduct:
    fields: dict[str, Any] = {
        "product_id": member.product_id,
        "title": choose_title(row.titles, locale, member.product_id),
        "image_url": pictures.get((row.id, member.image_id), ""),
        "similarity": round(member.score, 4),
    }
    return DuplicateProduct.model_validate(fields)
