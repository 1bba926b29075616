"""The command `config`: all settings with value and source, secrets masked."""

from dataclasses import asdict

from baton.errors import BatonError
from baton.settings.setting_list import ListedSetting, list_settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.terminal.output import one_line, print_json, write_line
from workers.connection import read_target


def config(as_json: bool) -> None:
    """Print the settings; raises ConfigurationError that names a setting that is invalid."""
    listed = [*list_settings(load_settings()), temporal_setting()]
    if as_json:
        print_json({"settings": [asdict(setting) for setting in listed]})
        return
    for setting in listed:
        write_line(f"{setting.variable:<34} {one_line(str(setting.value), 80)}  ({setting.source})")
        write_line(f"{'':<34} {setting.description}")


def temporal_setting() -> ListedSetting:
    """Return the address of the Temporal server, which Temporal's own settings name."""
    try:
        to = read_target()
    except BatonError as error:
        return ListedSetting("TEMPORAL_ADDRESS", "-", "unreadable", str(error))
    source = "environment or profile" if to.address else "default"
    description = "Temporal's own settings: also TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TLS, TEMPORAL_PROFILE"
    return ListedSetting("TEMPORAL_ADDRESS", to.address or "the embedded server", source, description)
