"""What a caller may name as the source of an import, instead of uploading it."""

from __future__ import annotations

from pathlib import Path

from shared.errors import InvalidInput, Refused
from shared.imports.kinds import S3, is_manifest, is_under_s3_roots


def allowed_source(source: str, roots: tuple[str, ...], *, url_import: bool) -> dict[str, str]:
    """Return where a job reads from: ``path``, ``s3`` or ``url`` with its value.

    A path is returned with its links resolved.

    Raises:
        Refused: it lies elsewhere than under ``roots``, links counted in. The answer is the same
            whether it exists or not.
        InvalidInput: an address that is no manifest's.
    """
    if source.startswith(("http://", "https://")):
        if not url_import:
            raise Refused("URL import is off (VITRINE_WEB__URL_IMPORT): send the file itself.", "source")
        if not is_manifest(source.partition("?")[0]):
            raise InvalidInput("An address must be of a manifest: .csv, .jsonl or .parquet.", "source")
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
        "The server reads only what exists under its import roots (VITRINE_JOBS__IMPORT_ROOTS). "
        "Send the files as an archive instead.",
        "source",
    )
