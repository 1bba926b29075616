"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from baton.settings.choices import SandboxMode
from interfaces.cli.usage.run_ids import complete_run_id

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of the run, as `baton list` shows it.", autocompletion=complete_run_id)
]
Sandbox = Annotated[
    SandboxMode | None,
    typer.Option("--sandbox", help="Isolation of commands; none only where you trust agents and repository."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="ROLE=MODEL", help="Model of a role; may be given several times.")
]
NoPublish = Annotated[bool, typer.Option("--no-publish", help="Leave the result in Baton's store.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start the run, print its id, and leave.")]
NewRunId = Annotated[str | None, typer.Option("--run-id", metavar="ID", help="Id of the run, instead of a made one.")]
ServerPort = Annotated[
    int | None, typer.Option("--server-port", metavar="PORT", min=1, max=65_535, help="Port of the embedded server.")
]
UiPort = Annotated[int | None, typer.Option("--ui-port", metavar="PORT", min=1, max=65_535, help="Port of its Web UI.")]
ListenPort = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
]
