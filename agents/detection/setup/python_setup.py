"""Set-up of Python projects: one virtual environment, filled by uv, poetry, pdm, pipenv or requirement files."""

import re
import shlex

from agents.detection.manifests import ini_sections, nested_table, parse_toml, text_items
from agents.detection.setup.plan import (
    TEST_NAMES,
    TOOLS,
    VENV,
    ProjectFiles,
    Requirement,
    SetupPlan,
    SetupStep,
    named_for_tests,
)

HOSTS = ["pypi.org", "files.pythonhosted.org"]

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")
_MANIFESTS = ("pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "tox.ini", "pytest.ini", ".python-version")
_REQUIREMENTS = re.compile(
    rf"(?:requirements[-_.](?:{'|'.join(TEST_NAMES)})|(?:{'|'.join(TEST_NAMES)})[-_.]requirements)\.(?:txt|in)"
)
_IN_FOLDER = re.compile(rf"requirements/(?:{'|'.join(TEST_NAMES)})\.(?:txt|in)")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?")
_PLAIN_DEPENDENCY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[\w,. -]*\])?\s*(?:(?:[=<>!~]=?=?)\s*[\w.*+!-]+,?\s*)*")
_PLUGINS = {
    "--cov": "pytest-cov",
    "-n": "pytest-xdist",
    "--numprocesses": "pytest-xdist",
    "--timeout": "pytest-timeout",
    "--asyncio-mode": "pytest-asyncio",
    "--reruns": "pytest-rerunfailures",
    "--benchmark": "pytest-benchmark",
    "--ds": "pytest-django",
}
"""Options of pytest by the plugin that defines them: a project that sets one needs the plugin."""
_SETTINGS = {"asyncio_mode": "pytest-asyncio", "DJANGO_SETTINGS_MODULE": "pytest-django", "timeout": "pytest-timeout"}
_REMEDY = (
    "install it with `uv python install {version}` or `pyenv install {version}`, or run Baton on that Python;"
    " Debian's package is `python{version}`"
)


def plan_python(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Python project; None for other directories."""
    requirements = requirement_files(project)
    if not any(path.endswith(".py") for path in project.paths):
        return None
    pyproject = parse_toml(project.read_text("pyproject.toml"))
    version = python_version(project, pyproject)
    steps = [project.make_step(_make_venv(project, pyproject), "a virtual environment of the project's own")]
    steps += _install_steps(project, pyproject, requirements)
    if needed := _test_tools(project, pyproject):
        names = " ".join(map(shlex.quote, needed))
        check = " and ".join(f"u.find_spec({name.replace('-', '_').lower()!r})" for name in needed)
        steps.append(
            project.make_step(
                f'python -c "import importlib.util as u, sys; sys.exit(0 if {check} else 1)" || uv pip install {names}',
                "its tests call pytest with these plugins, whether a manifest names them or not",
            )
        )
    keys = [name for name in (*_LOCKS, *_MANIFESTS) if project.has_file(name)]
    return SetupPlan(
        steps=steps,
        requirements=[
            Requirement(
                tool="python",
                version=version,
                reason="requires-python or .python-version asks for it",
                remedy=_REMEDY.format(version=version),
            )
        ]
        if version
        else [],
        key_files=[project.root_path(name) for name in [*keys, *requirements]],
        env={
            "VIRTUAL_ENV": VENV,
            "UV_PROJECT_ENVIRONMENT": VENV,
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": "copy",
            "UV_NO_PROGRESS": "1",
            "UV_SYSTEM_CERTS": "1",
            "UV_TOOL_DIR": f"{TOOLS}/uv",
            "UV_TOOL_BIN_DIR": f"{TOOLS}/bin",
            "POETRY_VIRTUALENVS_CREATE": "false",
            "PIPENV_VERBOSITY": "-1",
            "PDM_CHECK_UPDATE": "0",
            # Packages that ask git for their version find no repository here.
            "SETUPTOOLS_SCM_PRETEND_VERSION": "99.0.0",
            "PBR_VERSION": "99.0.0",
            "POETRY_DYNAMIC_VERSIONING_BYPASS": "99.0.0",
            "PDM_BUILD_SCM_VERSION": "99.0.0",
        },
        search_path=[f"{VENV}/bin", f"{TOOLS}/bin"],
        hosts=[*HOSTS, *_hosts_of(project)],
    )


def python_version(project: ProjectFiles, pyproject: dict[str, object]) -> str:
    """Return the version that a project requests, for `uv --python`: `>=3.10,<4` or `3.12`; empty for any."""
    required = nested_table(pyproject, "project").get("requires-python")
    poetry = nested_table(pyproject, "tool", "poetry", "dependencies").get("python")
    setup = ini_sections(project.read_text("setup.cfg")).get("options", {}).get("python_requires", "")
    if isinstance(required, str) and required.strip():
        return _plain_range(required)
    if isinstance(poetry, str) and (match := re.fullmatch(r"\^(\d+)\.(\d+)(?:\.\d+)?", poetry.strip())):
        return f">={match[1]}.{match[2]},<{int(match[1]) + 1}"
    return _plain_range(setup)


def _plain_range(text: str) -> str:
    return text.replace(" ", "") if re.fullmatch(r"[\d.,<>=!~*\s]{1,60}", text) else ""


def requirement_files(project: ProjectFiles) -> list[str]:
    """Return the requirement files that tests need, in the order for the installer."""
    found = ["requirements.txt"] if project.has_file("requirements.txt") else []
    found += sorted(name for name in project.top if _REQUIREMENTS.fullmatch(name))
    if not found or found == ["requirements.txt"]:
        below = [path for path in project.paths if _IN_FOLDER.fullmatch(path)]
        # Compiled files of a folder pin the same packages: the first one with those of the tests is enough.
        ranked = sorted(below, key=lambda path: (TEST_NAMES.index(_file_stem(path)), not path.endswith(".txt")))
        found += ranked[:1] or [path for path in project.paths if path == "requirements/base.txt"]
    # A compiled `x.txt` and its source `x.in` are one list.
    return [name for name in found if not (name.endswith(".in") and f"{name[:-3]}.txt" in found)]


def _file_stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _make_venv(project: ProjectFiles, pyproject: dict[str, object]) -> str:
    wanted = python_version(project, pyproject)
    pinned = _VERSION.match(project.read_text(".python-version").strip())
    tries = [f"{pinned[1]}.{pinned[2]}"] if pinned else []
    tries += [wanted] if wanted else [] if tries else [""]
    commands = [f"uv venv --quiet{f' --python {shlex.quote(one)}' if one else ''} {VENV}" for one in tries]
    return " || ".join(commands)


def _install_steps(project: ProjectFiles, pyproject: dict[str, object], requirements: list[str]) -> list[SetupStep]:
    groups = named_for_tests(list(nested_table(pyproject, "dependency-groups")))
    extras = named_for_tests(list(nested_table(pyproject, "project", "optional-dependencies")))
    if project.has_file("uv.lock"):
        options = "".join(f" --group {shlex.quote(name)}" for name in groups)
        options += "".join(f" --extra {shlex.quote(name)}" for name in extras)
        return [
            project.make_step(
                f"uv sync --frozen --active --python {VENV}/bin/python{options}",
                "uv.lock pins what the project installs",
            )
        ]
    poetry = nested_table(pyproject, "tool", "poetry")
    if project.has_file("poetry.lock") or (poetry and not nested_table(pyproject, "project").get("dependencies")):
        return _install_by_poetry(project, poetry, extras)
    if project.has_file("pdm.lock"):
        options = "".join(f" -G {shlex.quote(name)}" for name in dict.fromkeys([*extras, *groups]))
        return [
            project.make_step("uv tool install --quiet pdm", "pdm installs from pdm.lock"),
            project.make_step(f"pdm sync --dev{options}", "pdm.lock pins what is installed"),
        ]
    if project.has_file("Pipfile.lock", "Pipfile"):
        pinned = project.has_file("Pipfile.lock")
        return [
            project.make_step("uv tool install --quiet pipenv", "pipenv installs from the Pipfile"),
            project.make_step(
                "pipenv sync --dev" if pinned else "pipenv install --dev --skip-lock",
                f"{'Pipfile.lock' if pinned else 'Pipfile'} names what is installed",
            ),
        ]
    return _install_by_uv(project, pyproject, requirements, groups, extras)


def _install_by_poetry(project: ProjectFiles, poetry: dict[str, object], extras: list[str]) -> list[SetupStep]:
    """Install the packages of poetry.lock with uv, because poetry fails on mirrors without PyPI's JSON API."""
    groups = {name: nested_table(group) for name, group in nested_table(poetry, "group").items()}
    named = [name for name, group in groups.items() if not group.get("optional") and re.fullmatch(r"[\w.-]+", name)]
    named += [name for name in named_for_tests(list(groups)) if name not in named]
    named += ["dev"] if nested_table(poetry, "dev-dependencies") and "dev" not in named else []
    options = f" --with {','.join(named)}" if named else ""
    chosen = named_for_tests(list(nested_table(poetry, "extras"))) or extras
    options += "".join(f" --extras {shlex.quote(name)}" for name in chosen)
    lock = "" if project.has_file("poetry.lock") else "poetry lock --no-interaction --no-ansi && "
    listed = f"{TOOLS}/poetry.txt"
    steps = [
        project.make_step("uv tool install --quiet poetry --with poetry-plugin-export", "poetry reads its lock file"),
        project.make_step(
            f"{lock}poetry export --no-interaction --no-ansi --without-hashes{options} --output {listed}"
            f" && uv pip install -r {listed}",
            "poetry.lock pins what is installed",
        ),
    ]
    if poetry.get("package-mode") is not False:
        steps.append(project.make_step("uv pip install --no-deps -e .", "the project itself, in place"))
    return steps


def _install_by_uv(
    project: ProjectFiles, pyproject: dict[str, object], requirements: list[str], groups: list[str], extras: list[str]
) -> list[SetupStep]:
    steps = []
    if requirements:
        files = "".join(f" -r {shlex.quote(name)}" for name in requirements)
        steps.append(project.make_step(f"uv pip install{files}", f"{', '.join(requirements)} name what is installed"))
    setup = ini_sections(project.read_text("setup.cfg"))
    if not extras:
        extras = named_for_tests(list(setup.get("options.extras_require", {})))
    if not extras and "extras_require" in project.read_text("setup.py"):
        listed = re.findall(r"[\"']([\w-]+)[\"']\s*\]?\s*[:=]", project.read_text("setup.py"))
        extras = named_for_tests(listed)
    installable = (
        bool(nested_table(pyproject, "project"))
        or bool(nested_table(pyproject, "build-system"))
        or project.has_file("setup.py")
        or "metadata" in setup
    )
    if installable:
        chosen = f"[{','.join(extras)}]" if extras else ""
        options = "".join(f" --group {shlex.quote(name)}" for name in groups)
        steps.append(
            project.make_step(
                f"uv pip install -e {shlex.quote(f'.{chosen}')}{options}",
                "the project itself with what its tests need, in place",
            )
        )
    if hinted := _tox_dependencies(project, pyproject, requirements):
        names = " ".join(map(shlex.quote, hinted))
        steps.append(project.make_step(f"uv pip install {names}", "tox's test environment names them"))
    return steps


def _tox_dependencies(project: ProjectFiles, pyproject: dict[str, object], known: list[str]) -> list[str]:
    """Return requirements and requirement files of tox's main test environment, without lines with substitutions."""
    text = project.read_text("tox.ini")
    legacy = nested_table(pyproject, "tool", "tox").get("legacy_tox_ini")
    section = ini_sections(text or (legacy if isinstance(legacy, str) else "")).get("testenv", {})
    lines = section.get("deps", "").splitlines()
    native = text_items(nested_table(pyproject, "tool", "tox", "env_run_base").get("deps"))
    found: list[str] = []
    for line in [*lines, *native]:
        line = line.split("#")[0].strip()
        file = re.fullmatch(r"-r\s*([\w./-]+)", line)
        if file and file[1] in project.paths and file[1] not in known:
            found += ["-r", file[1]]
        elif line and _PLAIN_DEPENDENCY.fullmatch(line):
            found.append(line.replace(" ", ""))
    return found


def _test_tools(project: ProjectFiles, pyproject: dict[str, object]) -> list[str]:
    """Return pytest and its plugins with options that the project's configuration sets."""
    setup = ini_sections(project.read_text("setup.cfg")).get("tool:pytest", {})
    ini = ini_sections(project.read_text("pytest.ini")).get("pytest", {})
    tox = ini_sections(project.read_text("tox.ini")).get("pytest", {})
    options = {**nested_table(pyproject, "tool", "pytest", "ini_options"), **setup, **tox, **ini}
    added = options.get("addopts", "")
    words = text_items(added) if isinstance(added, list) else str(added).split()
    found = ["pytest"]
    for option, package in _PLUGINS.items():
        if any(word == option or word.startswith((f"{option}=", f"{option}-")) for word in words):
            found.append(package)
    found += [package for name, package in _SETTINGS.items() if name in options]
    uses = any(re.fullmatch(r"(?:.*/)?(?:test_[^/]*|[^/]*_test|conftest)\.py", path) for path in project.paths)
    return list(dict.fromkeys(found)) if options or uses else []


def _hosts_of(project: ProjectFiles) -> list[str]:
    """Return the hosts that lock and requirement files name besides the registry."""
    text = "\n".join(project.read_text(name) for name in (*_LOCKS, "requirements.txt", "Pipfile"))
    return sorted({host.lower() for host in re.findall(r"https?://(?:[^@/\s\"']*@)?([\w.-]+)", text)} - set(HOSTS))[:20]
