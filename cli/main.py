"""The `vitrine` command. Commands are loaded when called, so that each starts fast."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import click

from cli.output import ExitCode, fail
from shared.errors import VitrineError
from shared.storage.private_files import set_private_umask

#: Command, the place of its code, and the line that `vitrine --help` shows.
_COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("cli.commands.up:up", "Start everything on this machine."),
    "down": ("cli.commands.down:down", "Stop what `up` started."),
    "status": ("cli.commands.status:status", "Say what runs, and with which models."),
    "import": ("cli.commands.import_:import_", "Import products from a folder, manifest or archive."),
    "migrate": ("cli.commands.migrate:migrate", "Bring the database to the schema of this version."),
    "search": ("cli.commands.search:search", "Find the products in a photo."),
    "catalogues": ("cli.commands.catalogues:catalogues", "List, make and delete catalogues."),
    "jobs": ("cli.commands.jobs:jobs", "List, watch, pause, cancel and retry jobs."),
    "webhooks": ("cli.commands.webhooks:webhooks", "Tell other programs when jobs end."),
    "reconcile": ("cli.commands.reconcile:reconcile", "Compare a catalogue with its index, row by row."),
    "indexes": ("cli.commands.indexes:indexes", "List a catalogue's index versions."),
    "reprocess": (
        "cli.commands.reprocess:reprocess",
        "Put a catalogue through models again.",
    ),
    "promote": ("cli.commands.promote:promote", "Make an index that is ready the live one."),
    "rollback": ("cli.commands.promote:rollback", "Go back to the index that was live before."),
    "prune": ("cli.commands.promote:prune", "Drop index versions that nobody goes back to."),
    "duplicates": ("cli.commands.duplicates:duplicates", "Find products that show the same thing."),
    "calibrate": ("cli.commands.calibrate:calibrate", "Find out what the scores of hits mean."),
    "boosts": ("cli.commands.boosts:boosts", "Show or set what a catalogue shows first among what is near."),
    "rates": ("cli.commands.rates:rates", "Rates between currencies: show them, bring new ones."),
    "feedback": ("cli.commands.feedback:feedback", "What shoppers did with hits, as golden queries."),
    "golden": ("cli.commands.golden:golden", "Photos whose right answer is known, for the quality gate."),
    "rebuild": ("cli.commands.rebuild:rebuild", "Write a catalogue's index anew, after Milvus was wiped."),
    "sweep": ("cli.commands.sweep:sweep", "Delete the pictures that no product refers to."),
    "evaluate": ("cli.commands.evaluate:evaluate", "Measure how well searches find products."),
    "train": ("cli.commands.train:train", "Train detector and embedder."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (place, _) in _COMMANDS.items() if find_spec(place.partition(":")[0])]

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

    Commands talk to the Vitrine at VITRINE_URL, with the key VITRINE_API_KEY; without them, to the one
    on this machine. Exit codes: 0 done, 1 error, 2 wrong usage, 3 finished with some products failed,
    4 not running or not reachable.
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
