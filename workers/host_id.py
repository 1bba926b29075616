"""The id of this host, and the check that the top-level packages are Baton's own."""

import importlib
import importlib.util
import os
import secrets
from pathlib import Path

from baton.errors import ConfigurationError
from workspaces.store.private_home import close_home

PACKAGES = ("system", "baton", "agents", "workspaces", "activities", "workflows", "workers", "interfaces", "standin")


def read_host_id(home: Path) -> str:
    """Return the stable id of this host, made at the first call: one per `BATON_HOME`, which holds the workspaces."""
    path = home / "host-id"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        close_home(home)
        candidate = home / f"host-id.{os.getpid()}.{secrets.token_hex(4)}"
        candidate.write_text(secrets.token_hex(4) + "\n")
        try:
            # Link and not rename: of two processes that start at once, the first names the host.
            os.link(candidate, path)
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
        return path.read_text().strip()


def check_packages() -> None:
    """Raise ConfigurationError if another distribution has taken one of the top-level package names.

    `agents` and `workflows` are also the import names of other packages; installed into one environment, one
    overwrites the other silently.
    """
    ours = Path(importlib.import_module("baton").__file__ or "").resolve().parent.parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if origin != ours:
            raise ConfigurationError(
                f"The package {name!r} is not Baton's own (found in {origin}). Another distribution has taken its name:"
                " install Baton into an environment of its own (`uv tool install`, or a fresh virtual environment)."
            )
