"""Translate states, kinds, phases, stages and checks for the owner's pages."""

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
    "building": _("building"),
    "ready": _("ready"),
    "live": _("live"),
    "retired": _("retired"),
    "pruned": _("dropped"),
    "deleting": _("deleting"),
}
_KINDS: Final[_Names] = {
    "import": _("Import"),
    "put": _("Product update"),
    "delete": _("Product deletion"),
    "reconcile": _("Index comparison"),
    "reprocess": _("Re-processing"),
    "rebuild": _("Index rebuild"),
    "promote": _("Promotion"),
    "rollback": _("Rollback"),
    "prune": _("Old versions dropped"),
    "duplicates": _("Duplicate search"),
    "drop": _("Catalogue deletion"),
    "calibrate": _("Calibration"),
}
_PHASES: Final[_Names] = {
    "plan": _("Listing products"),
    "work": _("Processing products"),
    "finish": _("Checking and finishing"),
}
_STAGES: Final[_Names] = {
    "decode": _("Reading and decoding"),
    "detect": _("Finding objects"),
    "crop": _("Cropping objects"),
    "embed": _("Embedding"),
    "write": _("Writing"),
    "search": _("Searching the index"),
    "hydrate": _("Loading products"),
    "wait": _("Waiting"),
    "total": _("Total"),
}
_CHECKS: Final[_Names] = {
    "failed_share": _("Missing pictures"),
    "bad_embeddings": _("Invalid embeddings"),
    "golden_loss": _("Golden queries lost"),
    "known_item_loss": _("Catalogue pictures no longer found"),
    "known_item": _("Catalogue pictures found"),
    "overlap": _("Unchanged results"),
    "score_drift": _("Mean score shift"),
}


def translate_state(state: str) -> str:
    """Translate the state of a job or an index version."""
    return str(_STATES.get(state, state))


def translate_kind(kind: str) -> str:
    """Translate the kind of a job."""
    return str(_KINDS.get(kind, kind))


def translate_phase(phase: str) -> str:
    """Translate the phase of a running job."""
    return str(_PHASES.get(phase, phase))


def translate_stage(stage: str) -> str:
    """Translate a processing stage."""
    return str(_STAGES.get(stage, stage))


def translate_check(check: str) -> str:
    """Translate a check of the quality gate."""
    return str(_CHECKS.get(check, check))
