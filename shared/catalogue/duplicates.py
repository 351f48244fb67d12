"""Groups of duplicates as the web shows them; a job of the catalogue lane finds them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.catalogue.store import choose_title, image_url, load_images
from shared.contracts.duplicates import DuplicateGroup, DuplicateKind, DuplicatePage, DuplicateProduct
from shared.contracts.states import JobKind, JobState
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import to_datetime
from shared.database.tables import Duplicate, Image, Job, Product
from shared.errors import Expired, InvalidInput

#: The kind of job, and what is in its options: ``shared.contracts.duplicates.DuplicatesRequest``.
KIND = JobKind.DUPLICATES
MAX_PAGE = 100
_CURSOR = re.compile(r"([0-9a-f-]{36}):(\d{1,9})")


class DuplicateRepository:
    """Reads what the last finished job found."""

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
        """Return a page of groups: exact ones first, each in the order in which its job numbered them.

        What was deleted since is left out, and so are groups of which one product is left: a page may be
        shorter than ``limit``, and ``next_cursor`` alone says whether there is more.

        Args:
            cursor: ``next_cursor`` of the page before; it stays with that page's job.

        Raises:
            UnknownCatalogue.
            InvalidInput: the cursor is no such text.
            Expired: the groups of the cursor's job are gone.
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
            groups = _shown(session, catalogue_row.id, job.id, numbers[:limit], locale)
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
    """Return the last job of the kind that succeeded, None if there was none."""
    found: Job | None = session.scalar(
        select(Job)
        .where(Job.catalogue_id == catalogue_id, Job.kind == KIND, Job.state == JobState.SUCCEEDED)
        .order_by(Job.finished_at.desc())
        .limit(1)
    )
    return found


def _begin(session: Session, catalogue_id: int, cursor: str | None) -> tuple[Job | None, int]:
    """The job whose groups are shown, and the number of the last group that was."""
    if cursor is None:
        return last_job(session, catalogue_id), 0
    said = _CURSOR.fullmatch(cursor)
    if said is None:
        raise InvalidInput("cursor: hand back what an answer gave as `next_cursor`, unchanged.", "cursor")
    job = session.get(Job, said[1])
    if job is None or job.catalogue_id != catalogue_id or not _kept(session, job.id):
        raise Expired("Duplicates were looked for again since: begin with the first page.", "cursor")
    return job, int(said[2])


def _kept(session: Session, job_id: str) -> bool:
    return bool(session.scalar(select(func.count()).where(Duplicate.job_id == job_id)))


def _shown(
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
    pictures = _pictures(session, [each for group in members.values() for each in group])
    return [
        DuplicateGroup.model_validate(
            {
                "id": str(number),
                "kind": group[0][0].kind,
                "products": [_product(member, row, pictures, locale) for member, row in group],
                # The first one left, where the one to keep was deleted.
                "keep": group[0][0].product_id,
            }
        )
        for number, group in members.items()
        if len(group) > 1
    ]


def _pictures(session: Session, members: Sequence[tuple[Duplicate, Product]]) -> dict[tuple[int, str], str]:
    """By product and picture of each member: the picture to show, another one where that is gone."""
    wanted = {member.image_id for member, _ in members}
    there = set(session.scalars(select(Image.id).where(Image.id.in_(wanted))))
    lost = [row.id for member, row in members if member.image_id not in there]
    others = load_images(session, lost) if lost else {}
    found: dict[tuple[int, str], str] = {}
    for member, row in members:
        if member.image_id in there:
            found[row.id, member.image_id] = image_url(member.image_id)
        elif others.get(row.id):
            found[row.id, member.image_id] = image_url(others[row.id][0].id)
    return found


def _product(
    member: Duplicate, row: Product, pictures: dict[tuple[int, str], str], locale: str
) -> DuplicateProduct:
    said: dict[str, Any] = {
        "product_id": member.product_id,
        "title": choose_title(row.titles, locale, member.product_id),
        "image_url": pictures.get((row.id, member.image_id), ""),
        "similarity": round(member.score, 4),
    }
    return DuplicateProduct.model_validate(said)
