"""`vitrine widget`: print the script tag that a shop pastes into its pages."""

from __future__ import annotations

from html import escape

import click

from cli.output import json_option, print_json
from cli.services.checks import ROOT
from shared.errors import Misconfigured
from shared.widget_script import widget_integrity, widget_version

SCRIPT = ROOT / "web" / "widget" / "vitrine.js"


@click.command(epilog="Example: vitrine widget https://search.example.com --key vt_… --catalogue shop")
@click.argument("server", metavar="ADDRESS")
@click.option("--key", required=True, help="Publishable key: vitrine keys create NAME --origin ORIGIN.")
@click.option("--catalogue", required=True, help="Catalogue of the key.")
@click.option("--attach", default="", help="CSS selector of the search bar, after which the button goes.")
@click.option(
    "--pin", is_flag=True, help="Name this version, with its integrity hash; renew it after updates."
)
@json_option
def widget(server: str, key: str, catalogue: str, attach: str, pin: bool, as_json: bool) -> None:
    """Print the script tag of the widget. ADDRESS is where shoppers' browsers reach Vitrine."""
    if not SCRIPT.exists():
        raise Misconfigured(f"{SCRIPT} is missing. Run this on the host of the web.")
    version, integrity = widget_version(SCRIPT), widget_integrity(SCRIPT)
    source = f"{server.rstrip('/')}/widget/{version + '/' if pin else ''}vitrine.js"
    attributes = {"src": source, "data-key": key, "data-catalogue": catalogue}
    attributes |= {"data-attach": attach} if attach else {}
    attributes |= {"integrity": integrity, "crossorigin": "anonymous"} if pin else {}
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    tag = f"<script {written} defer></script>"
    if as_json:
        print_json({"tag": tag, "version": version, "integrity": integrity})
    else:
        click.echo(tag)
