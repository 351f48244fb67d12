"""What the owner's pages call the states, kinds and findings of the ledger, in the reader's language."""

from __future__ import annotations

from flask_babel import gettext as _


def of_state(state: str) -> str:
    """A job's or an index version's state."""
    names: dict[str, str] = {
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
    return names.get(state, state)


def of_kind(kind: str) -> str:
    """What a job does."""
    names: dict[str, str] = {
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
    return names.get(kind, kind)


def of_phase(phase: str) -> str:
    """What a job that runs is at."""
    names: dict[str, str] = {
        "plan": _("Listing the products"),
        "work": _("Working through the products"),
        "finish": _("Checking and finishing"),
    }
    return names.get(phase, phase)


def of_stage(stage: str) -> str:
    """A stage of the work on pictures."""
    names: dict[str, str] = {
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
    return names.get(stage, stage)


def of_check(check: str) -> str:
    """A check of the quality gate."""
    names: dict[str, str] = {
        "failed_share": _("Pictures that are missing"),
        "bad_embeddings": _("Embeddings that are not sound"),
        "golden_loss": _("Golden queries lost"),
        "known_item_loss": _("Own pictures no longer found"),
        "known_item": _("Own pictures found"),
        "overlap": _("Results that stay the same"),
        "score_drift": _("Shift of the mean score"),
    }
    return names.get(check, check)
