"""`vitrine status`: show readiness, processes and models."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cli.client import VitrineClient
from cli.connection import connect
from cli.models_in_use import ModelsInUse, models_in_use
from cli.output import ExitCode, json_option, plain_table, print_json, stdout_console
from cli.services.run_state import RunState, read_run_state
from shared.errors import Unavailable
from shared.settings import get_settings


@click.command(epilog="Example: vitrine status --json")
@json_option
def status(as_json: bool) -> int:
    """Show whether Vitrine is ready, its errors, processes, and the models of searches.

    Exit code 0: ready, 1: not ready.
    """
    state = read_run_state(get_settings().data_dir)
    with connect(timeout_s=10.0) as client:
        document = _document(client, state)
    if as_json:
        print_json(document)
    else:
        _print(document, state)
    return ExitCode.OK if document["ready"] else ExitCode.ERROR


def _document(client: VitrineClient, state: RunState | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ready": False,
        "url": client.base_url,
        "message": None,
        "models": ModelsInUse().model_dump(),
        "local": None if state is None else state.model_dump(mode="json"),
    }
    try:
        server = client.status()
    except Unavailable as error:
        return found | {"message": error.message}
    return (
        server
        | found
        | {
            "ready": server["ready"],
            "models": models_in_use(server["processes"]).model_dump(),
        }
    )


def _print(document: dict[str, Any], state: RunState | None) -> None:
    console = stdout_console()
    word = Text("ready", style="bold green") if document["ready"] else Text("not ready", style="bold red")
    console.print(Text.assemble(f"Vitrine at {document['url']}: ", word), soft_wrap=True)
    if document["message"]:
        console.print(Text(document["message"]), soft_wrap=True)
    for part, state_ in document.get("parts", {}).items():
        console.print(Text(f"  {part}: {state_}", style="" if state_ == "ok" else "red"), soft_wrap=True)
    models = document["models"]
    if models["embedder"]:
        console.print(
            Text(
                f"detector {models['detector'] or 'none'}, embedder {models['embedder']}, "
                f"{models['runtime']} on {models['device']}"
            ),
            soft_wrap=True,
        )
    for other in models["loaded"][1:]:
        text = f"also loaded: detector {other['detector']}, embedder {other['embedder']}"
        console.print(Text(text), soft_wrap=True)
    for note in models["notes"]:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    for catalogue in document.get("catalogues", []):
        console.print(Text(f"catalogue {catalogue['name']}: {catalogue['products']} products"))
    if searches := document.get("searches"):
        for line in format_search_metrics(searches):
            console.print(Text(line), soft_wrap=True)
    if state is not None:
        console.print(_services(state))


def format_search_metrics(found: dict[str, Any]) -> list[str]:
    """Format the metrics of the searches of the last hour."""
    lines = [f"searches in the last hour: {found['searches']:,}"]
    for stage, taken in found["stages_ms"].items():
        times = ", ".join(f"{name} {taken[name]:,.1f} ms" for name in ("p50", "p95", "p99"))
        lines.append(f"  {stage}: {times}")
    for each in found["recall"]:
        lines.append(
            f"recall@{each['k']} of {each['catalogue']}: {100 * each['recall']:.1f} % "
            f"(worst {100 * each['worst']:.0f} %) in {each['probes']} probes"
        )
    return lines


def _services(state: RunState) -> Table:
    table = plain_table("service", "process", "state", "restarts")
    for each in state.services:
        table.add_row(each.name, str(each.pid or "-"), each.state, str(each.restarts))
    return table
