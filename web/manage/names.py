"""What the owner's pages call the states, kinds and findings of the ledger, in the reader's language."""

from __future__ import annotations

from typing import Final

from flask_babel import LazyString
from flask_babel import lazy_gettext as _

_Names = dict[str, LazyString]

_STATES: Final[_Names] = {
    "queued": _("waiting"),
    "running": _("running"),
    "paused": _("paused"),
    "succeeded": _("done"),
    "failed": _("failed"),
    "cancelled": _("cancelled"),
    "building": _("being filled"),
    "ready": _("ready"),
    "live": _("live"),
    "retired": _("retired"),
    "pruned": _("dropped"),
    "deleting": _("being deleted"),
}
_KINDS: Final[_Names] = {
    "import": _("Import"),
    "put": _("Product written"),
    "delete": _("Products deleted"),
    "reconcile": _("Comparison with the index"),
    "reprocess": _("Re-processing"),
    "rebuild": _("Rebuild of the index"),
    "promote": _("Promotion"),
    "rollback": _("Rollback"),
    "prune": _("Old versions dropped"),
    "duplicates": _("Search for duplicates"),
    "drop": _("Catalogue deleted"),
    "calibrate": _("Calibration"),
}
_PHASES: Final[_Names] = {
    "plan": _("Listing the products"),
    "work": _("Working through the products"),
    "finish": _("Checking and finishing"),
}
_STAGES: Final[_Names] = {
    "decode": _("Reading and decoding"),
    "detect": _("Finding objects"),
    "crop": _("Cutting objects out"),
    "embed": _("Embedding"),
    "write": _("Writing"),
    "search": _("Looking up the index"),
    "hydrate": _("Reading the products"),
    "wait": _("Waiting"),
    "total": _("Altogether"),
}
_CHECKS: Final[_Names] = {
    "failed_share": _("Pictures that are missing"),
    "bad_embeddings": _("Embeddings that are not sound"),
    "golden_loss": _("Golden queries lost"),
    "known_item_loss": _("Own pictures no longer found"),
    "known_item": _("Own pictures found"),
    "overlap": _("Results that stay the same"),
    "score_drift": _("Shift of the mean score"),
}


def of_state(state: str) -> str:
    """A job's or an index version's state."""
    return str(_STATES.get(state, state))


def of_kind(kind: str) -> str:
    """What a job does."""
    return str(_KINDS.get(kind, kind))


def of_phase(phase: str) -> str:
    """What a job that runs is at."""
    return str(_PHASES.get(phase, phase))


def of_stage(stage: str) -> str:
    """A stage of the work on pictures."""
    return str(_STAGES.get(stage, stage))


def of_check(check: str) -> str:
    """A check of the quality gate."""
    return str(_CHECKS.get(check, check))
