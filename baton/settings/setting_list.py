"""The list of all settings with value, source and description, as `baton config` prints it. Secrets are masked."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from baton.settings.core import Settings
from baton.settings.variables import variables_of
from baton.text.redaction import Redactor, strip_url_credentials

MASK = "***"


@dataclass(frozen=True)
class ListedSetting:
    """One setting of this process."""

    variable: str
    value: Any
    """Masked where the setting is a secret; `-` where it is not set."""
    source: str
    """`environment`, `file` or `default`; with the older name of the variable, or the file, in brackets."""
    description: str


def list_settings(settings: Settings) -> list[ListedSetting]:
    """List every setting; those of GitHub come last."""
    redact = Redactor(settings.list_secrets())
    listed = []
    for name, field in sorted(Settings.model_fields.items(), key=lambda item: item[0].startswith("github_")):
        variable = variables_of(name, field)[0]
        value = _shown_value(name, getattr(settings, name), redact)
        listed.append(ListedSetting(variable, value, _find_source(settings, name), field.description or ""))
    return listed


def _shown_value(name: str, value: Any, redact: Redactor) -> Any:
    if value is None or value == "":
        return "-"
    if isinstance(value, SecretStr):
        return MASK
    if name == "state_remote":
        value = strip_url_credentials(str(value))
    return redact(str(value)) if isinstance(value, str | Path) else value


def _find_source(settings: Settings, name: str) -> str:
    current, *older = variables_of(name, Settings.model_fields[name])
    for variable in (current, *older):
        if os.environ.get(variable):
            return "environment" if variable == current else f"environment ({variable})"
    for variable in (current, *older):
        file = (settings.secrets_dir or Path(os.devnull)) / variable.lower()
        if file.is_file() and name in settings.model_fields_set:
            return f"file ({file})"
    named = getattr(settings, f"{name}_file", None)
    if named is not None and getattr(settings, name) is not None:
        return f"file ({named})"
    return "default"
