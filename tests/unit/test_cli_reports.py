"""What the command line says about the end of jobs."""

from __future__ import annotations

from typing import Any

from cli.commands.import_ import exit_code
from cli.output import ExitCode
from cli.reports import report_lines
from shared.contracts import JobOut

DRY: dict[str, Any] = {
    "new": 12,
    "changed": 1,
    "unchanged": 1985,
    "delete": 0,
    "bad_rows": 4,
    "bad": [],
    "examples": {"new": ["a", "b"], "changed": ["c"], "deleted": []},
    "images_to_embed": 15,
    "estimated_s": [3.0, 75.0],
    "measured": "the rate of this catalogue's last 5 imports",
    "refused": None,
}
PROOF: dict[str, Any] = {
    "scope": "all",
    "expected": 9,
    "found": 8,
    "missing": 2,
    "orphans": 1,
    "missing_keys": ["a-0", "b-0"],
    "orphan_keys": ["z-0"],
    "repaired": False,
}


def job(report: dict[str, Any], **counts: int) -> JobOut:
    return JobOut.model_validate(
        {
            "id": "7",
            "kind": "import",
            "catalogue": "shop",
            "state": "succeeded",
            "total": 2002,
            "done": 2002,
            "counts": counts,
            "images": 15,
            "image_failures": 0,
            "rate_per_s": None,
            "eta_s": None,
            "created_at": "2026-01-01T00:00:00Z",
            "started_at": None,
            "finished_at": None,
            "report": report,
            "error": None,
        }
    )


def test_a_dry_run_reads_as_a_difference_with_examples_and_a_time() -> None:
    text = "\n".join(report_lines(job({"dry_run": DRY})))
    assert text == (
        "Nothing was changed. The import would find:\n"
        "       12 new   a, b, ...\n"
        "        1 changed   c\n"
        "    1,985 unchanged\n"
        "        0 to delete\n"
        "        4 bad rows\n"
        "       15 images to embed\n"
        "It would take 3 s to 1 min 15 s, by the rate of this catalogue's last 5 imports."
    )
    unknown = {**DRY, "estimated_s": None, "measured": "no import has embedded images here"}
    assert list(report_lines(job({"dry_run": unknown})))[-1] == (
        "How long it would take is not known: no import has embedded images here."
    )


def test_a_difference_names_keys_and_the_remedy_and_is_no_success_to_a_script() -> None:
    lines = list(report_lines(job({"reconcile": PROOF})))
    assert "9 expected, 8 found, 2 missing, 1 orphans" in lines[0]
    assert lines[1:] == [
        "  missing: a-0, b-0",
        "  orphan: z-0",
        "Repair it with: vitrine reconcile shop --repair",
    ]
    assert exit_code(job({"reconcile": PROOF})) is ExitCode.PARTIAL
    mended = {**PROOF, "repaired": True}
    assert exit_code(job({"reconcile": mended})) is ExitCode.OK
    assert list(report_lines(job({"reconcile": mended})))[-1] == "The index was repaired."
    agreed = {**PROOF, "found": 9, "missing": 0, "orphans": 0}
    assert list(report_lines(job({"reconcile": agreed}))) == ["Catalogue and index agree on all rows: 9."]
    assert exit_code(job({"reconcile": agreed})) is ExitCode.OK


def test_a_sync_that_would_be_refused_is_no_success_to_a_script() -> None:
    refused = {**DRY, "refused": "This would delete 8 of 10 products."}
    assert list(report_lines(job({"dry_run": refused})))[-1].endswith("This would delete 8 of 10 products.")
    assert exit_code(job({"dry_run": refused})) is ExitCode.PARTIAL
    assert exit_code(job({"dry_run": DRY}, failed=4)) is ExitCode.PARTIAL
