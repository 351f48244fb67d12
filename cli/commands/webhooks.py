"""`vitrine webhooks`: manage addresses that receive events of jobs and indexes."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.text import Text

from cli.client import VitrineClient
from cli.connection import connect
from cli.output import ExitCode, json_option, plain_table, print_json, stderr_console, stdout_console
from shared.contracts import EVENTS, DeliveryOut

_POLL_S = 0.5
#: Covers the receiver's timeout of ten seconds, and the sender's interval of a second.
_MAX_WAIT_S = 20.0


@click.group(epilog="Example: vitrine webhooks add https://shop.example/vitrine --event job.failed")
def webhooks() -> None:
    """Add, list, test and remove webhooks."""


@webhooks.command(name="list", epilog="Example: vitrine webhooks list")
@json_option
def list_(as_json: bool) -> None:
    """List all webhooks, without their secrets."""
    with connect() as client:
        found = client.webhooks()
    if as_json:
        print_json(found)
        return
    table = plain_table("webhook", "address", "events", "catalogue")
    for w in found:
        table.add_row(w.id, Text(w.url), ", ".join(w.events) or "all", w.catalogue or "all")
    stdout_console().print(table)


@webhooks.command(epilog="Example: vitrine webhooks add https://shop.example/vitrine --event job.failed")
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, type=click.Choice(EVENTS), help="Event to send. [default: all]"
)
@click.option("--catalogue", help="Only events of this catalogue.")
@json_option
def add(url: str, events: tuple[str, ...], catalogue: str | None, as_json: bool) -> None:
    """Add a webhook, and print the secret that signs its events once."""
    with connect() as client:
        made = client.add_webhook(url, events, catalogue)
    if as_json:
        print_json(made)
        return
    console = stderr_console()
    console.print(Text(f"Webhook {made.id} is added. Its secret is shown this once:"), soft_wrap=True)
    click.echo(made.secret)
    console.print(Text(f"Try it: vitrine webhooks test {made.id}"), soft_wrap=True)


@webhooks.command(epilog="Example: vitrine webhooks remove WEBHOOK")
@click.argument("webhook_id", metavar="WEBHOOK")
@json_option
def remove(webhook_id: str, as_json: bool) -> None:
    """Remove a webhook with its pending events."""
    with connect() as client:
        client.remove_webhook(webhook_id)
    if as_json:
        print_json({"removed": webhook_id})
    else:
        stderr_console().print(Text(f"Webhook {webhook_id} is removed."), soft_wrap=True)


@webhooks.command(epilog="Example: vitrine webhooks deliveries WEBHOOK --limit 10")
@click.argument("webhook_id", metavar="WEBHOOK")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="Maximum number of events."
)
@json_option
def deliveries(webhook_id: str, limit: int, as_json: bool) -> None:
    """List the deliveries of the last week, newest first."""
    with connect() as client:
        found = client.deliveries(webhook_id, limit)
    if as_json:
        print_json(found)
        return
    table = plain_table("delivery", "event", "state", "tries", "answer", "when")
    for d in found:
        answer = str(d.status or d.error or "")
        table.add_row(d.id, d.event, d.state, str(d.attempts), Text(answer), f"{d.created_at:%Y-%m-%d %H:%M}")
    stdout_console().print(table)


@webhooks.command(epilog="Example: vitrine webhooks test WEBHOOK")
@click.argument("webhook_id", metavar="WEBHOOK")
@json_option
def test(webhook_id: str, as_json: bool) -> ExitCode:
    """Send a test event, and print the receiver's answer."""
    with connect() as client:
        delivery = _outcome(client, webhook_id, client.test_webhook(webhook_id))
    if as_json:
        print_json(delivery)
    else:
        _print_outcome(delivery, stderr_console())
    return ExitCode.OK if delivery.state == "delivered" else ExitCode.ERROR


def _outcome(client: VitrineClient, webhook_id: str, delivery: DeliveryOut) -> DeliveryOut:
    """Wait for the outcome of the first attempt; return the delivery."""
    end = time.monotonic() + _MAX_WAIT_S
    while delivery.state == "waiting" and delivery.error is None and time.monotonic() < end:
        time.sleep(_POLL_S)
        found = [d for d in client.deliveries(webhook_id) if d.id == delivery.id]
        delivery = found[0] if found else delivery
    return delivery


def _print_outcome(delivery: DeliveryOut, console: Console) -> None:
    if delivery.state == "delivered":
        text = f"Delivered: the receiver answered {delivery.status}."
    else:
        text = delivery.error or "Not sent yet: is the maintenance process running? `vitrine status` says."
    console.print(Text(text), soft_wrap=True)
