"""`vitrine keys`: create, list, rotate and revoke API keys."""

from __future__ import annotations

import re
from datetime import datetime

import click
from rich.text import Text

from cli.connection import connect
from cli.output import json_option, plain_table, print_json, stderr_console, stdout_console
from shared.access.roles import Role
from shared.contracts.keys import KeyMade

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"(\d{1,7})([smhdw])")
_EXAMPLE = "vitrine keys create widget --catalogue shop --origin https://shop.example"


class Duration(click.ParamType[float]):
    """A number with a unit, such as ``90d`` or ``12h``; converted to seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = _DURATION.fullmatch(str(value).strip())
        if found is None:
            self.fail(
                f"{value!r} is no duration: write a number and a unit, such as 12h, 90d or 4w.", param, ctx
            )
        return float(found[1]) * _UNITS_S[found[2]]


@click.group(epilog=f"Example: {_EXAMPLE}")
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


@keys.command(epilog=f"Example: {_EXAMPLE}")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.SEARCH.value,
    show_default=True,
    help="What the key may do; each role includes the ones before.",
)
@click.option("--catalogue", "catalogues", multiple=True, help="Only this catalogue. [default: all]")
@click.option("--origin", "origins", multiple=True, help="For `search`: a site whose pages may use the key.")
@click.option("--per-minute", type=click.IntRange(1), help="Maximum requests per minute.")
@click.option("--expires", type=Duration(), help="Lifetime, such as 90d. [default: unlimited]")
@json_option
def create(
    name: str,
    role: str,
    catalogues: tuple[str, ...],
    origins: tuple[str, ...],
    per_minute: int | None,
    expires: float | None,
    as_json: bool,
) -> None:
    """Create a key named NAME, and print it once.

    A `search` key is publishable: it is for one catalogue, and pages of the listed origins may contain it.
    """
    wanted = {
        "name": name,
        "role": role,
        "catalogues": list(catalogues),
        "origins": list(origins),
        "per_minute": per_minute,
        "expires_in_s": expires,
    }
    with connect() as client:
        made = client.create_key(wanted)
    _print_made(made, as_json)


@keys.command(name="list", epilog="Example: vitrine keys list")
@json_option
def list_(as_json: bool) -> None:
    """List all keys without their secrets, newest first."""
    with connect() as client:
        found = client.list_keys()
    if as_json:
        print_json(found)
        return
    table = plain_table("key", "name", "role", "catalogues", "origins", "state", "expires", "last used")
    for key in found:
        catalogues, origins = ", ".join(key.catalogues) or "all", ", ".join(key.origins) or "-"
        dates = (_date(key.expires_at, "never"), _date(key.last_used_at, "never"))
        table.add_row(key.id, Text(key.name), key.role, catalogues, Text(origins), key.state, *dates)
    stdout_console().print(table)


@keys.command(epilog="Example: vitrine keys rotate k3m8w2xa --grace 2d")
@click.argument("key_id", metavar="KEY")
@click.option(
    "--grace", type=Duration(), default="7d", show_default=True, help="How long the old key still works."
)
@json_option
def rotate(key_id: str, grace: float, as_json: bool) -> None:
    """Replace KEY, an id of `vitrine keys list`, by a new key with the same rights; print it once."""
    with connect() as client:
        made = client.rotate_key(key_id, grace)
    _print_made(made, as_json)


@keys.command(epilog="Example: vitrine keys revoke k3m8w2xa")
@click.argument("key_id", metavar="KEY")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """Revoke KEY, an id of `vitrine keys list`. Within five seconds no process accepts it."""
    with connect() as client:
        revoked = client.revoke_key(key_id)
    if as_json:
        print_json(revoked)
    else:
        stderr_console().print(Text(f"The key {revoked.id} ({revoked.name}) is revoked."), soft_wrap=True)


def _print_made(made: KeyMade, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    stderr_console().print(Text(f"Key {made.id} ({made.name}, {made.role}). It is shown this once:"))
    click.echo(made.key)


def _date(when: datetime | None, missing: str) -> str:
    return missing if when is None else f"{when:%Y-%m-%d %H:%M}"
