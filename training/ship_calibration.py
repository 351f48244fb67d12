"""Ship a catalogue's calibration with the models that it was made with.

    python -m training.ship_calibration CATALOGUE

Writes the calibration of the live index version into ``calibrations.json`` in the models folder. It
is the default of every catalogue indexed with these models, until that has a calibration of its own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Calibration, Catalogue, IndexVersionRow
from shared.errors import NotFound
from shared.factories import open_migrated_database
from shared.settings import get_settings
from worker.calibration.calibration_store import DEFAULTS, calibration_key


def ship(database: Database, catalogue: str, folder: Path) -> dict[str, Any]:
    """Write a catalogue's calibration into the models folder; return the entry.

    Raises:
        NotFound: the live index version has no calibration.
    """
    with database.read() as session:
        row = session.execute(
            select(Calibration, IndexVersionRow)
            .join(IndexVersionRow, IndexVersionRow.id == Calibration.index_version)
            .join(Catalogue, Catalogue.id == IndexVersionRow.catalogue_id)
            .where(Catalogue.name == catalogue, IndexVersionRow.state == "live")
        ).one_or_none()
        if row is None or not row[0].curves:
            raise NotFound(f"Calibrate {catalogue} first: `vitrine calibrate {catalogue}`.")
        found, version = row
        # The diagram can be drawn from the bins.
        report = {name: each for name, each in found.report.items() if name != "diagram"}
        models = calibration_key(version.detector, version.embedder)
        entry = {
            "detector": models[0],
            "embedder": models[1],
            "made_of": catalogue,
            "curves": found.curves,
            "report": report,
        }
    write_entry(folder, entry)
    return entry


def write_entry(folder: Path, entry: dict[str, Any]) -> None:
    """Write an entry into ``calibrations.json``; it replaces the entry of the same models."""
    models = entry["detector"], entry["embedder"]
    path = folder / DEFAULTS
    known = json.loads(path.read_text(encoding="utf-8"))["calibrations"] if path.exists() else []
    others = [each for each in known if (each["detector"], each["embedder"]) != models]
    text = json.dumps({"calibrations": [*others, entry]}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and write the calibration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("catalogue")
    args = parser.parse_args()
    settings = get_settings()
    entry = ship(open_migrated_database(settings), args.catalogue, settings.models_folder)
    print(f"{DEFAULTS} has {entry['detector']} with {entry['embedder']}.")


if __name__ == "__main__":
    main()
