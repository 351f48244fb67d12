"""Read the models of searches from the status of workers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class ModelsInUse(BaseModel):
    """Models of the search lane; None if no search worker is ready."""

    detector: str | None = None
    embedder: str | None = None
    runtime: str | None = None
    device: str | None = None
    notes: list[str] = []
    #: Pairs of loaded models: those of the settings first, then those of other index versions.
    loaded: list[dict[str, str]] = []


def models_in_use(processes: list[dict[str, Any]]) -> ModelsInUse:
    """Return the models of the newest search worker among the processes of ``GET /v1/status``."""
    workers = [each for each in processes if each["role"] == "search"]
    if not workers:
        return ModelsInUse()
    details = max(workers, key=lambda each: str(each["started_at"]))["details"]
    found = {
        name: details[name] for name in ("detector", "embedder", "runtime", "device") if details.get(name)
    }
    notes = [str(note) for note in details.get("notes", [])]
    if found.get("detector") in (None, "none") and not any("whole" in note for note in notes):
        notes.append("No detector is installed: whole images are searched, not the objects in them.")
    notes += [str(reason) for reason in details.get("not_loaded", {}).values()]
    loaded = [{name: str(version) for name, version in each.items()} for each in details.get("pipelines", [])]
    return ModelsInUse(**{name: str(value) for name, value in found.items()}, notes=notes, loaded=loaded)
