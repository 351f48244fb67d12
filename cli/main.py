"""The `vitrine` command. Commands are imported when called, so that each starts fast."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import click

from cli.output import ExitCode, fail
from shared.errors import VitrineError
from shared.storage.private_files import set_private_umask

#: Code and line in `vitrine --help` of each command.
_COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("cli.commands.up:up", "Start everything on this machine."),
    "down": ("cli.commands.down:down", "Stop what `up` started."),
    "status": ("cli.commands.status:status", "Show readiness, processes and models."),
    "import": ("cli.commands.import_:import_", "Import products from a folder, manifest or archive."),
    "migrate": ("cli.commands.migrate:migrate", "Migrate the database to the schema of this version."),
    "search": ("cli.commands.search:search", "Search for products by photo."),
    "catalogues": ("cli.commands.catalogues:catalogues", "List, create and delete catalogues."),
    "jobs": ("cli.commands.jobs:jobs", "List, watch, pause, cancel and retry jobs."),
    "keys": ("cli.commands.keys:keys", "Create, list, rotate and revoke API keys."),
    "webhooks": ("cli.commands.webhooks:webhooks", "Notify other programs of events."),
    "reconcile": ("cli.commands.reconcile:reconcile", "Compare a catalogue with its index, row by row."),
    "indexes": ("cli.commands.indexes:indexes", "List a catalogue's index versions."),
    "reprocess": (
        "cli.commands.reprocess:reprocess",
        "Detect and embed a catalogue's pictures again.",
    ),
    "promote": ("cli.commands.promote:promote", "Promote a ready index to the live one."),
    "rollback": ("cli.commands.promote:rollback", "Switch back to the previously live index."),
    "prune": ("cli.commands.promote:prune", "Drop unneeded index versions."),
    "duplicates": ("cli.commands.duplicates:duplicates", "Find duplicate products."),
    "calibrate": ("cli.commands.calibrate:calibrate", "Map scores of hits to probabilities."),
    "boosts": ("cli.commands.boosts:boosts", "Show or set the boosts of a catalogue."),
    "rates": ("cli.commands.rates:rates", "Show and update exchange rates."),
    "feedback": ("cli.commands.feedback:feedback", "List and export feedback of shoppers."),
    "golden": ("cli.commands.golden:golden", "Manage photos with a known right product."),
    "rebuild": ("cli.commands.rebuild:rebuild", "Rebuild an index from the database."),
    "sweep": ("cli.commands.sweep:sweep", "Delete unreferenced pictures."),
    "evaluate": ("cli.commands.evaluate:evaluate", "Measure search quality on a labelled set."),
    "train": ("cli.commands.train:train", "Train a detector or an embedder."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (path, _) in _COMMANDS.items() if find_spec(path.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def app() -> None:
    """Vitrine: a self-hosted shop-by-image engine.

    Commands connect to the server at VITRINE_URL with the key VITRINE_API_KEY, by default to the one on this
    machine. Exit codes: 0 done, 1 error, 2 wrong usage, 3 finished with failed products, 4 not running or not
    reachable.
    """


def main() -> None:
    """Run the command line and exit."""
    set_private_umask()
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False, prog_name="vitrine")
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except VitrineError as error:
        code = fail(error, as_json)
    sys.exit(int(code or 0))


if __name__ == "__main__":
    main()
