"""`vitrine up`: start all services on this machine, in the foreground or background."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from cli import background
from cli.client import VitrineClient
from cli.commands.import_ import describe, follow, send
from cli.output import json_option, print_json, reporter_for, stderr_console
from cli.services.checks import ROOT
from cli.services.narrator import ConsoleNarrator
from cli.services.sockets import find_free_ports
from cli.supervisor import Supervisor
from shared.errors import VitrineError
from shared.settings import Settings, get_settings

DEMO = "demo"


@click.command(epilog="Example: vitrine up --detach --port 8080")
@click.option("--detach", is_flag=True, help="Run in the background; return when everything is ready.")
@click.option("--no-demo", is_flag=True, help="Do not import the demo catalogue.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port of the web page and the API; 0 chooses a free one."
)
@click.option("--report-to", type=int, hidden=True, help="File descriptor that gets the progress.")
@json_option
def up(detach: bool, no_demo: bool, port: int | None, report_to: int | None, as_json: bool) -> None:
    """Start broker, index, workers, sweeper, web and Flower; import the demo catalogue if it is missing.

    Ctrl-C stops all services; imported data is kept. Services whose address is set (VITRINE_REDIS__URL,
    VITRINE_MILVUS__URI, VITRINE_DATABASE__URL) are not started.
    """
    if as_json and not detach:
        raise click.UsageError("--json requires --detach: in the foreground, logs are printed.")
    settings = _settings(port)
    if report_to is not None:
        background.supervise(settings, report_to)
    elif detach:
        _start_detached(settings, no_demo, as_json)
    else:
        _run_foreground(settings, no_demo)


def _settings(port: int | None) -> Settings:
    if port is not None:
        os.environ["VITRINE_WEB__PORT"] = str(port)
    if get_settings().web.port == 0:
        os.environ["VITRINE_WEB__PORT"] = str(find_free_ports(1)[0])
    get_settings.cache_clear()
    return get_settings()


def _start_detached(settings: Settings, no_demo: bool, as_json: bool) -> None:
    console = stderr_console() if as_json else Console(highlight=False)
    ready = background.start(lambda text: console.print(Text(text), soft_wrap=True))
    _print_addresses(console, ready)
    if not no_demo:
        key = settings.web.api_key
        with VitrineClient(ready["url"], key.get_secret_value() if key else None) as client:
            import_demo(client, console)
    console.print("Stop it with: vitrine down")
    if as_json:
        print_json({name: value for name, value in ready.items() if name != "flower_password"})


def _run_foreground(settings: Settings, no_demo: bool) -> None:
    console = Console(highlight=False)
    narrator = ConsoleNarrator(console)
    supervisor = Supervisor(settings, narrator)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, supervisor.request_stop)

    def demo_then_logs() -> None:
        try:
            if not no_demo:
                import_demo(supervisor.client, console, supervisor)
        except VitrineError as error:
            narrator.say(f"The demo catalogue was not imported: {error.message}")
        finally:
            _print_addresses(console, background.ready_document(supervisor))
            console.print("Ctrl-C stops everything.")
            narrator.show_logs = True

    # In a thread, because supervision must continue during the import.
    thread = threading.Thread(target=demo_then_logs, name="demo", daemon=True)
    supervisor.run(when_ready=thread.start)


def import_demo(client: VitrineClient, console: Console, supervisor: Supervisor | None = None) -> None:
    """Import the demo catalogue unless it exists, or follow an import that an earlier stop interrupted.

    Returns early when the supervisor stops: the job continues at the next start.
    """
    exists = any(catalogue.name == DEMO for catalogue in client.catalogues())
    unfinished = [job for job in client.jobs(DEMO, limit=1) if job.finished_at is None] if exists else []
    folder = ROOT / DEMO
    if exists and not unfinished:
        return
    if not exists and not folder.is_dir():
        console.print("There is no folder demo/ in this installation: no demo catalogue was imported.")
        return
    console.print("importing the demo catalogue")
    with reporter_for(console) as reporter:
        job = unfinished[0] if unfinished else send(client, folder, DEMO, reporter)
        job = follow(client, job, reporter, lambda: supervisor is not None and supervisor.stopping)
    if supervisor is None or not supervisor.stopping:
        describe(client, job, console)


def _print_addresses(console: Console, ready: dict[str, Any]) -> None:
    lines = [
        "Vitrine is ready",
        f"  page    {ready['url']}/",
        f"  API     {ready['url']}/docs",
        f"  Flower  {ready['flower_url']}/  user {ready['flower_user']}, password {ready['flower_password']}",
        f"  data    {ready['data_dir']}",
        *(f"  note    {note}" for note in ready["notes"]),
    ]
    console.print(Text("\n".join(lines)), soft_wrap=True)
