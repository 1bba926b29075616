"""The set-up that is derived from manifests and lock files of many kinds."""

import json

import pytest

from agents.detection.detect import detect_technology, wanted_manifests
from agents.detection.setup.derive import derive_setup, readable_files
from agents.detection.setup.plan import SetupPlan


def derived(files: dict[str, str], *more: str) -> SetupPlan:
    paths = [*files, *more]
    read = {path: files[path] for path in [*readable_files(paths), *wanted_manifests(paths)] if path in files}
    return derive_setup(paths, read, detect_technology(paths, {path: files[path] for path in wanted_manifests(paths)}))


def commands(files: dict[str, str], *more: str) -> list[str]:
    return [f"{step.directory}: {step.command}".removeprefix(": ") for step in derived(files, *more).steps]


PROJECT = '[project]\nname = "shop"\ndependencies = ["attrs"]\n'


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pyproject.toml": PROJECT, "uv.lock": ""}, "uv sync --frozen --active --python /home/agent/venv/bin/python"),
        (
            {
                "pyproject.toml": PROJECT
                + '[project.optional-dependencies]\ntest=["x"]\ndocs=["y"]\n[dependency-groups]\ndev=["pytest"]\n',
                "uv.lock": "",
            },
            "uv sync --frozen --active --python /home/agent/venv/bin/python --group dev --extra test",
        ),
        (
            {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.9"\n', "poetry.lock": ""},
            "poetry export --no-interaction --no-ansi --without-hashes --output /home/agent/.tools/poetry.txt",
        ),
        (
            {"pyproject.toml": '[tool.poetry.group.test.dependencies]\npytest = "*"\n', "poetry.lock": ""},
            "poetry export --no-interaction --no-ansi --without-hashes --with test --output",
        ),
        ({"pyproject.toml": PROJECT, "pdm.lock": ""}, "pdm sync --dev"),
        ({"Pipfile": "", "Pipfile.lock": "{}"}, "pipenv sync --dev"),
        ({"requirements.txt": "attrs", "requirements-dev.txt": "pytest"}, "uv pip install -r requirements.txt -r"),
        ({"requirements/test.txt": "pytest", "requirements/dev.txt": "x", "setup.py": ""}, "-r requirements/test.txt"),
        ({"pyproject.toml": PROJECT}, "uv pip install -e ."),
        (
            {"pyproject.toml": PROJECT + '[dependency-groups]\ntests = ["pytest"]\n'},
            "uv pip install -e . --group tests",
        ),
        ({"setup.py": "setup(extras_require={'test': ['pytest']})"}, "uv pip install -e '.[test]'"),
        ({"setup.cfg": "[metadata]\nname = x\n[options.extras_require]\ntests =\n  pytest\n"}, "'.[tests]'"),
        (
            {"setup.py": "", "tox.ini": "[testenv]\ndeps =\n  pytest>=7\n  -r t.txt\n  {env:X}\n", "t.txt": "x"},
            "uv pip install 'pytest>=7' -r t.txt",
        ),
    ],
)
def test_python_installs_what_its_lock_or_manifest_names(files: dict[str, str], expected: str) -> None:
    found = commands(files, "shop/app.py", "tests/test_app.py")
    assert any(expected in command for command in found), found
    assert found[0].startswith("uv venv")


def test_a_requirement_list_and_its_compiled_form_are_one() -> None:
    found = commands({"requirements/dev.in": "pytest", "requirements/dev.txt": "pytest==8"}, "a.py", "tests/test_a.py")
    assert found[1] == "uv pip install -r requirements/dev.txt"


def test_plugins_that_a_configuration_needs_are_installed() -> None:
    pytest_ini = '[tool.pytest.ini_options]\naddopts = "-n auto --cov=shop"\nasyncio_mode = "auto"\n'
    found = commands({"pyproject.toml": PROJECT + pytest_ini}, "tests/test_app.py")
    assert found[-1].endswith("|| uv pip install pytest pytest-cov pytest-xdist pytest-asyncio")


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (">=3.10,<4", '[project]\nname = "x"\nrequires-python = ">= 3.10, <4"\n'),
        (">=3.9,<4", '[tool.poetry.dependencies]\npython = "^3.9"\n'),
        ("", '[project]\nname = "x"\nrequires-python = "$(touch /tmp/x)"\n'),
    ],
)
def test_the_python_that_a_project_asks_for(version: str, text: str) -> None:
    plan = derived({"pyproject.toml": text}, "x.py")
    assert [requirement.version for requirement in plan.requirements] == ([version] if version else [])


def test_a_pinned_python_that_is_not_here_gives_way_to_the_range() -> None:
    files = {"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.9"\n', ".python-version": "3.12.1\n"}
    assert commands(files, "x.py")[0] == (
        "uv venv --quiet --python 3.12 /home/agent/venv || uv venv --quiet --python '>=3.9' /home/agent/venv"
    )


def package(**fields: object) -> str:
    return json.dumps({"scripts": {"test": "vitest run"}, **fields})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"package.json": package(), "package-lock.json": "{}"},
            ["npm ci || npm ci --ignore-scripts || npm install --ignore-scripts"],
        ),
        ({"package.json": package()}, ["npm install || npm install --ignore-scripts"]),
        (
            {"package.json": package(), "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"},
            [
                "npm install --global --no-audit --prefix /home/agent/.tools pnpm@10",
                "pnpm install --frozen-lockfile",
            ],
        ),
        (
            {"package.json": package(packageManager="pnpm@9.1.0+sha512.abc"), "pnpm-lock.yaml": ""},
            [
                "npm install --global --no-audit --prefix /home/agent/.tools pnpm@9.1.0",
                "pnpm install --frozen-lockfile",
            ],
        ),
        (
            {"package.json": package(), "yarn.lock": "# yarn lockfile v1\n"},
            [
                "npm install --global --no-audit --prefix /home/agent/.tools yarn@1",
                "yarn install --frozen-lockfile --non-interactive",
            ],
        ),
        (
            {"package.json": package(), "yarn.lock": "__metadata:\n  version: 8\n"},
            [
                "npm install --global --no-audit --prefix /home/agent/.tools @yarnpkg/cli-dist@4",
                "yarn install --immutable",
            ],
        ),
        (
            {"package.json": package(packageManager="npm@10; rm -rf /"), "package-lock.json": "{}"},
            ["npm ci || npm ci --ignore-scripts || npm install --ignore-scripts"],
        ),
    ],
)
def test_node_installs_with_the_manager_of_its_lock_file(files: dict[str, str], expected: list[str]) -> None:
    assert commands(files, "src/app.test.ts") == expected


@pytest.mark.parametrize(
    ("files", "expected", "tool"),
    [
        ({"go.mod": "module x\n\ngo 1.22\n"}, "go mod download", "go >=1.22"),
        ({"Cargo.toml": "", "Cargo.lock": "", "rust-toolchain.toml": 'channel = "1.79"'}, "--locked", "cargo 1.79"),
        ({"pom.xml": "", "mvnw": ""}, "./mvnw -q", "java "),
        ({"Gemfile": "", ".ruby-version": "3.3.0\n"}, "bundle install", "bundle 3.3.0"),
        ({"composer.json": "{}"}, "composer install", "php "),
        ({"shop.csproj": ""}, "dotnet restore", "dotnet "),
    ],
)
def test_other_languages_fetch_what_is_pinned(files: dict[str, str], expected: str, tool: str) -> None:
    plan = derived(files, "src/x_test.go", "src/test/java/T.java", "src/T.java")
    assert expected in plan.steps[0].command
    assert tool in [f"{one.tool} {one.version}" for one in plan.requirements]
    assert all(one.remedy for one in plan.requirements)


def test_directories_with_tests_of_their_own_are_set_up_too() -> None:
    files = {"package.json": package(), "api/pyproject.toml": PROJECT, "web/package.json": package()}
    found = commands(files, "api/tests/test_a.py", "api/shop.py")
    # The workspace at the root installs for the packages below it.
    assert [command for command in found if "npm" in command] == ["npm install || npm install --ignore-scripts"]
    assert "api: uv pip install -e ." in found


def test_every_lock_file_decides_which_environment_it_is() -> None:
    plan = derived({"pyproject.toml": PROJECT, "uv.lock": "", "requirements.txt": ""}, "a.py")
    assert {"uv.lock", "pyproject.toml", "requirements.txt"} <= set(plan.key_files)


def test_hosts_that_a_lock_file_names_are_listed_apart_from_registries() -> None:
    lock = '{"packages": {"x": {"resolved": "https://user:word@npm.example.org/x.tgz"}}}'
    plan = derived({"package.json": package(), "package-lock.json": lock})
    assert plan.hosts == ["registry.npmjs.org", "registry.yarnpkg.com", "npm.example.org"]


def test_a_hostile_manifest_is_no_error() -> None:
    for text in ("[" * 5_000, "\0", '{"a":' * 2_000, "a.b" * 9_000):
        derived({"pyproject.toml": text, "package.json": text, "setup.cfg": text, "tox.ini": text}, "a.py")
