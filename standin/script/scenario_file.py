"""Scenario files in YAML: an error names the file and the line of the first problem."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from baton.errors import ConfigurationError
from standin.script.scenario import Scenario


def shipped_scenarios() -> list[str]:
    """Return the names of the scenarios that are part of Baton."""
    folder = resources.files("standin").joinpath("scenarios")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def shipped_scenario(name: str) -> Scenario:
    """Load a scenario that is part of Baton; a file of its name in the working directory is ignored."""
    shipped = resources.files("standin").joinpath(f"scenarios/{name}.yaml")
    return parse_scenario(shipped.read_text(encoding="utf-8"), f"{name}.yaml")


def load_scenario(source: str | Path) -> Scenario:
    """Load a scenario from a file, or a shipped one by its name; raises ConfigurationError with file and line."""
    path = Path(source)
    if str(source) in shipped_scenarios() and not path.is_file():
        return shipped_scenario(str(source))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(shipped_scenarios())
        raise ConfigurationError(
            f"The scenario {path} cannot be read: {error.strerror}. Give a file, or one of: {known}."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"The scenario {path} is not UTF-8 text.") from error
    return parse_scenario(text, str(path))


def parse_scenario(text: str, origin: str) -> Scenario:
    """Parse and check the text of a scenario; raises ConfigurationError, in which `origin` names the text."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_doubles(tree, origin)
        data = _join_surrogates(yaml.safe_load(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{origin}, line {line}: not YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{origin}: not YAML: {error}.") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{origin}: a scenario is a mapping with a list of `steps`.")
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "scenario"
        line = _find_line(tree, first["loc"])
        raise ConfigurationError(f"{origin}, line {line}: {place}: {first['msg']}.") from error


def _join_surrogates(value: Any) -> Any:
    """Return a value with JSON's surrogate pairs (`\\ud83d\\ude00`) joined to one character; YAML reads two."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    if isinstance(value, dict):
        return {_join_surrogates(key): _join_surrogates(entry) for key, entry in value.items()}
    return [_join_surrogates(entry) for entry in value] if isinstance(value, list) else value


def _refuse_doubles(node: yaml.Node | None, origin: str, above: tuple[int, ...] = ()) -> None:
    """Refuse equal keys, of which YAML would silently keep the last, and a node that contains itself."""
    if id(node) in above:
        line = node.start_mark.line + 1 if node is not None else 1
        raise ConfigurationError(f"{origin}, line {line}: a part cannot contain itself.")
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise ConfigurationError(f"{origin}, line {key.start_mark.line + 1}: `{key.value}` stands twice.")
                seen.add(key.value)
            _refuse_doubles(value, origin, above)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_doubles(value, origin, above)


def _find_line(node: yaml.Node | None, location: Sequence[int | str]) -> int:
    """Return the line of the innermost node on the path to an error."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in location:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value == part:
                    line, found = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    return line
