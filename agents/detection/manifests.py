"""Package manifests, read tolerantly: the names of dependencies and scripts in TOML, JSON, XML and line formats.

Manifests come from strangers. The standard library's parsers are used where they are safe; XML is searched instead of
parsed, because entity expansion has no bounds. An unreadable manifest counts as empty.
"""

import configparser
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_MAX_DOTS = 200
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_GO_MODULE = re.compile(r"^[ \t]*(?:require[ \t]+)?([a-z0-9][\w.-]*\.[a-z]{2,}/\S+)[ \t]+v\S", re.MULTILINE)
_GEM = re.compile(r"^[ \t]*gem[ \t(]+[\"']([\w.-]+)[\"']", re.MULTILINE)
_XML_ARTIFACT = re.compile(r"<artifactId>\s*([\w.-]+)\s*</artifactId>")
_GRADLE = re.compile(r"[\"']([\w.-]+):([\w.-]+)(?::[^\"'\n]*)?[\"']")
_GRADLE_PLUGIN = re.compile(r"\bid[ (]+[\"']([\w.-]+)[\"']")
_NUGET = re.compile(r"<PackageReference\b[^>]{0,500}?\b(?:Include|Update)=[\"']([\w.-]+)[\"']")
_PYTHON_REQUIRES = re.compile(r"[\"']([A-Za-z0-9][A-Za-z0-9._-]*) ?(?:\[[^\]\n]*\] ?)?(?:[=<>!~;][^\"'\n]*)?[\"']")


@dataclass(frozen=True)
class ManifestFiles:
    """The manifests of one directory by file name, and all paths below it."""

    texts: Mapping[str, str]
    paths: Sequence[str]

    def has_file(self, *names: str) -> bool:
        """Whether one of these files is directly in the directory."""
        return any(name in self.texts for name in names) or any(path in names for path in self.paths)

    def read_manifest(self, name: str) -> str:
        """Return the text of a manifest; empty if it does not exist."""
        return self.texts.get(name, "")

    def texts_by_suffix(self, suffix: str) -> list[str]:
        """Return the texts of all manifests with this suffix."""
        return [text for name, text in self.texts.items() if name.endswith(suffix)]


def parse_toml(text: str) -> dict[str, object]:
    """Parse a TOML document; empty if it is invalid."""
    # The parser takes quadratic time for a key of many parts: 43 s for one of 100 kB.
    if any(part.count(".") > _MAX_DOTS for line in text.splitlines() for part in line.split("=")):
        return {}
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def parse_json_object(text: str) -> dict[str, object]:
    """Parse a JSON object; empty if it is invalid or another value."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def nested_table(value: object, *keys: str) -> dict[str, object]:
    """Return the table below these keys; empty if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def text_items(value: object) -> list[str]:
    """Return the texts of a list; empty if it is no list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def ini_sections(text: str) -> dict[str, dict[str, str]]:
    """Parse the sections of an INI file; empty if it is invalid."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
        return {section: dict(parser.items(section)) for section in parser.sections()}
    except (configparser.Error, ValueError, AttributeError, TypeError):
        # configparser raises errors of its own state on some broken files.
        return {}


def python_names(sources: ManifestFiles) -> set[str]:
    """Return the normalised names of distributions that a Python project requires to run, test or build."""
    project = parse_toml(sources.read_manifest("pyproject.toml"))
    lines: list[str] = text_items(nested_table(project, "project").get("dependencies"))
    for groups in (
        nested_table(project, "project", "optional-dependencies"),
        nested_table(project, "dependency-groups"),
    ):
        lines.extend(line for group in groups.values() for line in text_items(group))
    poetry = nested_table(project, "tool", "poetry")
    names = list(nested_table(poetry, "dependencies")) + list(nested_table(poetry, "dev-dependencies"))
    for group in nested_table(poetry, "group").values():
        names.extend(nested_table(group, "dependencies"))
    lines.extend(
        line
        for group in nested_table(project, "tool", "pdm", "dev-dependencies").values()
        for line in text_items(group)
    )
    lines.extend(text_items(nested_table(project, "tool", "uv").get("dev-dependencies")))
    pipfile = parse_toml(sources.read_manifest("Pipfile"))
    names.extend([*nested_table(pipfile, "packages"), *nested_table(pipfile, "dev-packages")])
    for name, text in sources.texts.items():
        if name.startswith("requirements"):
            lines.extend(text.splitlines())
    setup = ini_sections(sources.read_manifest("setup.cfg"))
    lines.extend(setup.get("options", {}).get("install_requires", "").splitlines())
    lines.extend(line for value in setup.get("options.extras_require", {}).values() for line in value.splitlines())
    names.extend(_PYTHON_REQUIRES.findall(sources.read_manifest("setup.py")))
    names.extend(match[1] for line in lines if (match := _REQUIREMENT.match(line)))
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def node_names(package: Mapping[str, object]) -> set[str]:
    """Return the names of all kinds of dependencies in a package.json."""
    kinds = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
    return {name.lower() for kind in kinds for name in nested_table(package, kind)}


def go_names(text: str) -> set[str]:
    """Return the module paths that a go.mod requires."""
    return {name.lower() for name in _GO_MODULE.findall(text)}


def cargo_names(text: str) -> set[str]:
    """Return the crates that a Cargo.toml and its workspace depend on."""
    document = parse_toml(text)
    tables = [nested_table(document, key) for key in ("dependencies", "dev-dependencies", "build-dependencies")]
    tables.append(nested_table(document, "workspace", "dependencies"))
    return {name.lower() for names in tables for name in names}


def java_names(pom: str, gradle: Iterable[str]) -> set[str]:
    """Return the artifact names and plugin ids of Maven and Gradle files."""
    names = set(_XML_ARTIFACT.findall(pom))
    for text in gradle:
        for group, artifact in _GRADLE.findall(text):
            names.update((group, artifact))
        names.update(_GRADLE_PLUGIN.findall(text))
    return {name.lower() for name in names}


def ruby_names(text: str) -> set[str]:
    """Return the gems that a Gemfile names."""
    return {name.lower() for name in _GEM.findall(text)}


def php_names(composer: Mapping[str, object]) -> set[str]:
    """Return the packages that a composer.json requires."""
    return {name.lower() for kind in ("require", "require-dev") for name in nested_table(composer, kind)}


def dotnet_names(projects: Iterable[str]) -> set[str]:
    """Return the NuGet packages that project files reference."""
    return {name.lower() for text in projects for name in _NUGET.findall(text)}
