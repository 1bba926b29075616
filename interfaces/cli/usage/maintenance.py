"""The commands that look after a machine: checks, settings, stores."""

from typing import Annotated

import typer

from interfaces.cli.usage.command_group import CommandGroup, Panel, declare_command
from interfaces.cli.usage.options import AsJson

app = typer.Typer()
stores = typer.Typer(
    name="store",
    cls=CommandGroup,
    help="Check, repair and clean the stores of this home.",
    epilog="Example: baton store check",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OlderThan = Annotated[
    str,
    typer.Option(metavar="DURATION", help="Runs that ended longer ago than this: 36h, 30d, 8w; a day at least."),
]
Keep = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="And the oldest ones, until the rest takes at most this: 500MB, 2GB."),
]
Forget = Annotated[
    bool, typer.Option("--forget", help="Remove state.json and decisions.json, too: `show` knows nothing then.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list the runs that would be removed.")]


@declare_command(app, "doctor.machine", function="doctor", panel=Panel.MAINTENANCE, example="baton doctor --json")
def doctor(
    store: Annotated[
        bool, typer.Option("--store", hidden=True, help="The same as `baton store check`, or `repair`.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", hidden=True, help="With --store: `baton store repair`.")] = False,
    github: Annotated[bool, typer.Option("--github", help="Check the GitHub side instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine.

    Checks server, sandbox, git, key and disk, and says how to solve each problem. No model is called. With --github
    it asks GitHub whether the credential is valid and may do what is needed. `baton config` lists the settings,
    `baton store check` checks the stores.
    Exit code: 1 when a check fails.
    """


@declare_command(app, "config", panel=Panel.MAINTENANCE, example="baton config --json")
def config(as_json: AsJson = False) -> None:
    """List all settings with their values and sources; secrets are masked.

    The source is the environment, a file or the default.
    """


@declare_command(stores, "store.check", function="check_stores", name="check", example="baton store check --json")
def check(as_json: AsJson = False) -> None:
    """Check that the stores of this home are whole.

    Reads every object, checkpoint and transcript, which can take minutes. Needs no server.
    Exit code: 1 when a store is damaged.
    """


@declare_command(stores, "store.check", function="repair_stores", name="repair", example="baton store repair")
def repair(as_json: AsJson = False) -> None:
    """Check the stores of this home, and repair what can be repaired.

    Stop the workers of this home first. Copies are taken from the state remote and from the target repository.
    Exit code: 1 when a store stays damaged.
    """


@declare_command(
    stores, "store.gc", function="gc", name="gc", example="baton store gc --older-than 14d --keep 2GB --dry-run"
)
def gc(
    older_than: OlderThan = "30d",
    keep: Keep = None,
    forget: Forget = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove checkpoints and transcripts of ended runs.

    Published branches stay, and so does the state of each run. Open runs are never touched, and a worker may be at
    work. Copies in a state remote stay there.
    Exit code: 1 when a store cannot be read; it is left as it is, and the others are cleaned.
    """


@declare_command(
    app, "store.gc", name="gc", function="gc", hidden=True, example="baton gc --older-than 14d --keep 2GB --dry-run"
)
def older_gc(
    older_than: OlderThan = "30d",
    keep: Keep = None,
    forget: Forget = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove checkpoints and transcripts of ended runs: the same as `baton store gc`."""
