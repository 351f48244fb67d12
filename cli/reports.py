"""Format the reports of jobs as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.output import duration
from shared.contracts import JobOut

_SHOWN_KEYS = 3


def report_lines(job: JobOut) -> Iterator[str]:
    """Yield the lines of a job's report."""
    report = job.report or {}
    if "dry_run" in report:
        yield from _dry_run(report["dry_run"])
    if "refetch" in report:
        yield from _refetch(report["refetch"])
    if "reconcile" in report:
        yield from _reconcile(report["reconcile"], job)
    if "gate" in report:
        yield from gate_lines(report["gate"])
    if "duplicates" in report:
        yield from _duplicates(report["duplicates"])
    if job.kind == "reprocess" and "index" in report:
        yield from _next_steps(job, report)
    if "calibrate" in report:
        yield from _calibrate(report["calibrate"])
    if "pruned" in report:
        dropped = (
            ", ".join(map(str, report["pruned"]))
            or "none; each is live, being filled, or the one to go back to"
        )
        yield f"Dropped indexes: {dropped}."


def _calibrate(found: dict[str, Any]) -> Iterator[str]:
    if not found["calibrated"]:
        yield f"Not calibrated. {found['why_not']}"
        return
    yield (
        f"Index {found['index']} is calibrated with {found['photos']:,} photos composed of "
        f"{found['pictures']:,} pictures. On photos that were not learnt from:"
    )
    for what, name in (("same", "same product"), ("kind", "same category")):
        for part, each in found[what].items():
            yield (
                f"  {name}, {part}: calibration error {each['first']['ece']:.3f} of first hits, "
                f"{each['all']['ece']:.3f} of all {each['all']['n']:,} ({each['form']})"
            )
    votes = found["category"]
    if votes["right"] is not None:
        yield f"  predicted category: right for {votes['right']:.1%}, calibration error {votes['ece']:.3f}"


def gate_lines(gate: dict[str, Any]) -> Iterator[str]:
    """Yield the verdict and the checks of a quality gate."""
    yield f"Quality gate: {gate['verdict']}."
    words = {True: "ok", False: "REFUSED", None: "not measured"}
    for check in gate["checks"]:
        yield f"  {check['name']}: {words[check['passed']]}; {check['note']}"


def _duplicates(found: dict[str, Any]) -> Iterator[str]:
    for kind in ("exact", "near"):
        yield f"{found[kind]['groups']:,} {kind} groups of {found[kind]['products']:,} products."
    if found["without_hash"]:
        yield f"{found['without_hash']:,} pictures have no hash: `vitrine import` them again to compare them."


def _next_steps(job: JobOut, report: dict[str, Any]) -> Iterator[str]:
    if report["promoted"]:
        yield f"Index {report['index']} is live. `vitrine rollback {job.catalogue}` goes back."
    elif "gate" in report and report["gate"]["verdict"] == "passed":
        yield f"Index {report['index']} is ready: `vitrine promote {job.catalogue}` makes it live."
    elif "gate" in report:
        yield (
            f"Index {report['index']} is not live: promote it with --force, or drop it with "
            f"`vitrine prune {job.catalogue}`."
        )


def needs_attention(job: JobOut) -> bool:
    """Return whether a report requires an action of the administrator."""
    report = job.report or {}
    found = report.get("reconcile", {})
    if report.get("gate", {}).get("verdict") == "failed" and not report.get("promoted"):
        return True
    differs = bool(found.get("missing") or found.get("orphans")) and not found.get("repaired")
    return differs or bool(report.get("dry_run", {}).get("refused"))


def _manifest(found: dict[str, Any]) -> Iterator[str]:
    """Yield what the columns of a manifest mean."""
    if not found.get("columns"):
        return
    how = ", ".join(part for part in (found["format"], found["encoding"]) if part)
    yield f"These look like {found['looks_like']} ({how})."
    for each in found["columns"]:
        yield f"  {each['column']} -> {each['field'] or 'an attribute of this name'}"
    yield "Other meanings: --map FIELD=COLUMN, such as --map title=name."


def _dry_run(found: dict[str, Any]) -> Iterator[str]:
    yield from _manifest(found.get("manifest") or {})
    yield "Nothing was changed. The import would find:"
    for key, examples, text in (
        ("new", "new", "new"),
        ("changed", "changed", "changed"),
        ("unchanged", "", "unchanged"),
        ("delete", "deleted", "to delete"),
        ("bad_rows", "", "bad rows"),
    ):
        names = found["examples"].get(examples, [])
        of = f"   {', '.join(names)}{', ...' if found[key] > len(names) else ''}" if names else ""
        yield f"{found[key]:>9,} {text}{of}"
    yield f"{found['images_to_embed']:>9,} images to embed"
    if found["estimated_s"] is None:
        yield f"How long it would take is not known: {found['measured']}."
    else:
        low, high = found["estimated_s"]
        yield f"It would take {duration(low)} to {duration(high)}, by {found['measured']}."
    if found["refused"]:
        yield f"It would be refused: {found['refused']}"


def _refetch(found: dict[str, Any]) -> Iterator[str]:
    """Yield how many pictures a second try at the end of the import fetched."""
    yield (
        f"{found['pictures']:,} pictures could not be fetched at first: {found.get('fetched', 0):,} came at "
        "the second try."
    )


def _reconcile(found: dict[str, Any], job: JobOut) -> Iterator[str]:
    what = "all rows" if found["scope"] == "all" else "the rows of this job"
    if not found["missing"] and not found["orphans"]:
        yield f"Catalogue and index agree on {what}: {found['found']:,}."
        return
    yield (
        f"Catalogue and index, {what}: {found['expected']:,} expected, {found['found']:,} found, "
        f"{found['missing']:,} missing, {found['orphans']:,} orphans."
    )
    for kind in ("missing", "orphan"):
        if keys := found[f"{kind}_keys"]:
            yield f"  {kind}: {', '.join(keys[:_SHOWN_KEYS])}{', ...' if len(keys) > _SHOWN_KEYS else ''}"
    if found["repaired"]:
        yield "The index was repaired."
    else:
        yield f"Repair it with: vitrine reconcile {job.catalogue} --repair"
