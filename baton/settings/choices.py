"""The values of settings that take one of a few. Enums, so that the command line shows and completes them.

This module imports nothing heavy: the command line reads it for `--help` and for shell completion.
"""

from enum import StrEnum


class SandboxMode(StrEnum):
    """Isolation of the commands of agents and gates.

    `auto` and `bwrap` run them in bubblewrap, or refuse to run them; `none` runs them without isolation.
    """

    AUTO = "auto"
    BWRAP = "bwrap"
    NONE = "none"
