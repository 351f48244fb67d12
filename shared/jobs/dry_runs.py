"""Start the import of a dry run, with the same source and options and without a second upload."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from shared.contracts.states import JobKind, JobState
from shared.contracts.stored import NEEDS, as_object
from shared.database import Database
from shared.database.catalogue_rows import DRY_RUN_PREFIX
from shared.database.clock import now_s
from shared.database.idempotency import AcceptedRequest, Idempotent
from shared.database.tables import Catalogue
from shared.errors import Conflict
from shared.imports.mapping import check_fields
from shared.jobs.control import find_job
from shared.jobs.repository import JobRepository


class DryRuns:
    """Starts the imports of dry runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs = JobRepository(database)

    def check_again(self, job_id: str, mapping: dict[str, list[str]]) -> AcceptedRequest:
        """Commit another dry run of the same source, with another meaning of its columns.

        Raises:
            UnknownJob.
            Conflict: the job is no dry run.
            InvalidInput: a field does not exist.
        """
        check_fields(mapping)
        with self._database.read() as session:
            job = find_job(session, job_id)
            if job.kind != JobKind.IMPORT or not as_object(job.options).get("dry_run"):
                raise Conflict("This job is not a dry run: there is nothing to check again.")
            catalogue_row = session.get_one(Catalogue, job.catalogue_id)
            catalogue = catalogue_row.deleted_name or catalogue_row.name
            options = {**as_object(job.options), "mapping": mapping, NEEDS: 2}
            source = as_object(job.source)
        return self._jobs.create_import(catalogue, source, None, options)

    def start(self, job_id: str) -> AcceptedRequest:
        """Commit the import of a finished dry run; repeated calls return the same import.

        Raises:
            UnknownJob, UnknownCatalogue.
            Conflict: it is no dry run, has not succeeded, or its import would be refused.
        """
        with self._database.read() as session:
            job = find_job(session, job_id)
            if job.kind != JobKind.IMPORT or not as_object(job.options).get("dry_run"):
                raise Conflict("This job is not a dry run: there is nothing to start.")
            if job.state != JobState.SUCCEEDED:
                raise Conflict("The dry run has not succeeded: wait for it, or start another import.")
            if (refused := as_object(as_object(job.report).get("dry_run")).get("refused")) is not None:
                raise Conflict(str(refused))
            catalogue_row = session.get_one(Catalogue, job.catalogue_id)
            is_new = catalogue_row.name.startswith(DRY_RUN_PREFIX)
            catalogue = str(catalogue_row.deleted_name) if is_new else catalogue_row.name
            source, options = as_object(job.source), {**job.options, "dry_run": False}
        if is_new:
            self._create_catalogue(catalogue)
        once = Idempotent(f"dry-run {job_id}", job_id)
        return self._jobs.create_import(catalogue, source, once, options)

    def _create_catalogue(self, name: str) -> None:
        """Create the catalogue of a dry run that had none, unless another request was faster."""
        with suppress(IntegrityError), self._database.write() as session:
            if session.scalar(select(Catalogue.id).where(Catalogue.name == name)) is None:
                session.add(Catalogue(name=name, created_at=now_s()))
