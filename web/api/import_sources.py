"""Check the source that an import request names instead of uploading a file."""

from __future__ import annotations

from pathlib import Path

from shared.errors import InvalidInput, Refused
from shared.imports.kinds import S3, archive_ending, is_under_s3_roots
from shared.imports.pictures import has_picture_ending


def resolve_source(source: str, roots: tuple[str, ...], *, url_import: bool) -> dict[str, str]:
    """Resolve a source to ``path``, ``s3`` or ``url`` with its value; links in a path are resolved.

    Raises:
        Refused: the source, with links resolved, is not under ``roots``. The answer does not reveal
            whether it exists.
        InvalidInput: the URL is not that of a manifest.
    """
    if source.startswith(("http://", "https://")):
        if not url_import:
            raise Refused("URL import is off (VITRINE_WEB__URL_IMPORT). Upload the file.", "source")
        location = source.partition("?")[0]
        if archive_ending(location) or has_picture_ending(location):
            raise InvalidInput(
                "The URL must be that of a manifest or feed, not of an archive or picture.", "source"
            )
        return {"url": source}
    if source.startswith(S3):
        if is_under_s3_roots(source, roots):
            return {"s3": source.rstrip("/")}
    elif "\0" not in source and (path := Path(source)).is_absolute():
        real = path.resolve()
        folders = [Path(root).resolve() for root in roots if not root.startswith(S3)]
        if any(real.is_relative_to(folder) for folder in folders) and real.exists():
            return {"path": str(real)}
    raise Refused(
        "The server reads only existing files under its import roots (VITRINE_JOBS__IMPORT_ROOTS). "
        "Upload the files as an archive instead.",
        "source",
    )
