"""Finders, one for each language: they read its manifests, label its dependencies and choose its test command."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from agents.detection import manifests
from agents.detection.catalogue import Ecosystem, database_of_image, read_catalogue
from agents.detection.manifests import ManifestFiles

LANGUAGE_OF_SUFFIX = {
    ".py": "Python",
    ".js": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".go": "Go",
    ".rs": "Rust",
    ".java": "Java",
    ".kt": "Kotlin",
    ".rb": "Ruby",
    ".php": "PHP",
    ".cs": "C#",
    ".c": "C",
    ".cpp": "C++",
    ".swift": "Swift",
    ".ex": "Elixir",
    ".scala": "Scala",
}
_PYTHON_TEST = re.compile(r"(?:.*/)?(?:test_[^/]*|[^/]*_test|conftest)\.py")
_NO_TEST = "no test specified"
_MAX_SCRIPT = 4_000


class Stack(BaseModel):
    """One language in one directory, with its framework, libraries and tests."""

    model_config = ConfigDict(frozen=True)

    directory: str = ""
    """Path relative to the root; empty for the root."""
    language: str
    framework: str | None = None
    database: list[str] = Field(default_factory=list)
    orm: str | None = None
    validation: str | None = None
    authentication: list[str] = Field(default_factory=list)
    tests: str | None = None
    test_command: str | None = None
    """Shell text to run in `directory`."""


def _make_stack(
    language: str, names: Collection[str], ecosystem: Ecosystem, tests: str | None, command: str | None
) -> Stack:
    catalogue = read_catalogue(ecosystem)
    return Stack(
        language=language,
        framework=catalogue.find_first("framework", names),
        database=catalogue.find_labels("database", names),
        orm=catalogue.find_first("orm", names),
        validation=catalogue.find_first("validation", names),
        authentication=catalogue.find_labels("authentication", names),
        tests=tests,
        test_command=command,
    )


def find_python(sources: ManifestFiles) -> Stack | None:
    """Find Python by pyproject, requirements, setup files, Pipfile or tox."""
    files = ("pyproject.toml", "setup.cfg", "setup.py", "Pipfile", "tox.ini", "pytest.ini")
    if not sources.has_file(*files) and not any(name.startswith("requirements") for name in sources.texts):
        return None
    names = manifests.python_names(sources)
    tests, command = _python_tests(sources, names)
    return _make_stack("Python", names, "python", tests, command)


def _python_tests(sources: ManifestFiles, names: Collection[str]) -> tuple[str | None, str | None]:
    pyproject = manifests.parse_toml(sources.read_manifest("pyproject.toml"))
    tox = manifests.ini_sections(sources.read_manifest("tox.ini"))
    configured = (
        sources.has_file("pytest.ini", "conftest.py")
        or bool(manifests.nested_table(pyproject, "tool", "pytest"))
        or "tool:pytest" in manifests.ini_sections(sources.read_manifest("setup.cfg"))
        or "pytest" in tox
    )
    has_tests = any(_PYTHON_TEST.fullmatch(path) for path in sources.paths)
    commands = "\n".join(section.get("commands", "") for section in tox.values())[:_MAX_SCRIPT]
    only = _only_other_names(sources.paths)
    if only and "django" not in names:
        # pytest looks into files of these names only when it is told to, and would find no test.
        return "pytest", f"python -m pytest -q -o python_files='{only}'"
    if configured or "pytest" in names or "pytest" in commands:
        return "pytest", "python -m pytest -q"
    if "django" in names and "manage.py" in sources.paths:
        return "Django's test runner", "python manage.py test --noinput"
    if match := re.search(r"\bpython[\d.]* -m unittest\b[^\n;&|<>`$]*", commands):
        return "unittest", match[0].strip() if "{" not in match[0] else "python -m unittest discover"
    if commands.strip():
        return "tox", "python -m tox"
    # pytest also runs unittest's classes; unittest finds none of pytest's functions and reports success.
    return ("pytest", "python -m pytest -q") if has_tests else (None, None)


def _only_other_names(paths: Sequence[str]) -> str:
    """Return names of test files for `python_files`, where a project has none of the names that pytest looks for."""
    if any(re.fullmatch(r"(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py", path) for path in paths):
        return ""
    found = {path.rpartition("/")[2] for path in paths if re.fullmatch(r"(?:.*/)?tests?\.py", path)}
    return " ".join(sorted(found))


def find_node(sources: ManifestFiles) -> Stack | None:
    """Find JavaScript and TypeScript by package.json, with npm, pnpm, yarn or bun."""
    if "package.json" not in sources.texts:
        return None
    package = manifests.parse_json_object(sources.read_manifest("package.json"))
    names = manifests.node_names(package)
    typed = "typescript" in names or sources.has_file("tsconfig.json")
    manager = _node_manager(sources, package)
    script = manifests.nested_table(package, "scripts").get("test")
    script = script[:_MAX_SCRIPT] if isinstance(script, str) else ""
    runner = read_catalogue("node").find_first("tests", names)
    command = None
    if script.strip() and _NO_TEST not in script:
        # Test runners of browser frameworks watch for changes unless CI is set.
        command = f"CI=true {manager} test" if "react-scripts" in script else f"{manager} test"
        if re.search(r"\bng test\b", script):
            command += " -- --watch=false" if manager == "npm" else " --watch=false"
        runner = runner or ("node:test" if re.search(r"\bnode\b.* --test\b", script) else f"{manager} test")
    elif runner in {"vitest", "jest", "mocha"}:
        command = {"vitest": "npx vitest run", "jest": "npx jest --ci", "mocha": "npx mocha"}[runner]
    return _make_stack("TypeScript" if typed else "JavaScript", names, "node", runner, command)


def _node_manager(sources: ManifestFiles, package: Mapping[str, object]) -> str:
    declared = package.get("packageManager")
    if isinstance(declared, str) and (match := re.match(r"(npm|pnpm|yarn|bun)@", declared)):
        # `bun test` is bun's own runner, whatever the project's script calls.
        return "bun run" if match[1] == "bun" else match[1]
    if sources.has_file("pnpm-lock.yaml"):
        return "pnpm"
    if sources.has_file("yarn.lock"):
        return "yarn"
    return "bun run" if sources.has_file("bun.lock", "bun.lockb") else "npm"


def find_go(sources: ManifestFiles) -> Stack | None:
    """Find Go by go.mod."""
    if "go.mod" not in sources.texts:
        return None
    has_tests = any(path.endswith("_test.go") for path in sources.paths)
    found = ("go test", "go test ./...") if has_tests else (None, None)
    return _make_stack("Go", manifests.go_names(sources.read_manifest("go.mod")), "go", *found)


def find_rust(sources: ManifestFiles) -> Stack | None:
    """Find Rust by Cargo.toml. Its unit tests are inside the sources, so there is always a test command."""
    if "Cargo.toml" not in sources.texts:
        return None
    names = manifests.cargo_names(sources.read_manifest("Cargo.toml"))
    return _make_stack("Rust", names, "rust", "cargo test", "cargo test")


def find_java(sources: ManifestFiles) -> Stack | None:
    """Find Java and Kotlin by the files of Maven and Gradle; their wrappers take precedence."""
    gradle = [sources.read_manifest(name) for name in ("build.gradle", "build.gradle.kts") if name in sources.texts]
    if "pom.xml" not in sources.texts and not gradle:
        return None
    names = manifests.java_names(sources.read_manifest("pom.xml"), gradle)
    kotlin = any(path.endswith(".kt") for path in sources.paths)
    if "pom.xml" in sources.texts:
        command = "./mvnw -q -B test" if sources.has_file("mvnw") else "mvn -q -B test"
    else:
        command = "./gradlew test" if sources.has_file("gradlew") else "gradle test"
    has_tests = any(f"/{path}".find("/src/test/") >= 0 for path in sources.paths)
    runner = (read_catalogue("java").find_first("tests", names) or "JUnit") if has_tests else None
    return _make_stack("Kotlin" if kotlin else "Java", names, "java", runner, command if has_tests else None)


def find_ruby(sources: ManifestFiles) -> Stack | None:
    """Find Ruby by Gemfile, with RSpec, Rails' runner or rake."""
    if "Gemfile" not in sources.texts:
        return None
    names = manifests.ruby_names(sources.read_manifest("Gemfile"))
    tests: tuple[str | None, str | None] = (None, None)
    if {"rspec", "rspec-rails"} & names or any(path.startswith("spec/") for path in sources.paths):
        tests = ("RSpec", "bundle exec rspec")
    elif "rails" in names:
        tests = ("Rails' test runner", "bin/rails test")
    elif sources.has_file("Rakefile") and any(path.startswith("test/") for path in sources.paths):
        tests = ("minitest", "bundle exec rake test")
    return _make_stack("Ruby", names, "ruby", *tests)


def find_php(sources: ManifestFiles) -> Stack | None:
    """Find PHP by composer.json, with its test script, Laravel's runner, Pest or PHPUnit."""
    if "composer.json" not in sources.texts:
        return None
    composer = manifests.parse_json_object(sources.read_manifest("composer.json"))
    names = manifests.php_names(composer)
    runner = read_catalogue("php").find_first("tests", names)
    tests: tuple[str | None, str | None] = (runner, None)
    if manifests.nested_table(composer, "scripts").get("test"):
        tests = (runner or "composer test", "composer test")
    elif sources.has_file("artisan"):
        tests = (runner or "PHPUnit", "php artisan test")
    elif runner is not None:
        tests = (runner, "vendor/bin/pest" if runner == "Pest" else "vendor/bin/phpunit")
    return _make_stack("PHP", names, "php", *tests)


def find_dotnet(sources: ManifestFiles) -> Stack | None:
    """Find .NET by project files, with `dotnet test` in the directory of the solution or project."""
    projects = [*sources.texts_by_suffix(".csproj"), *sources.texts_by_suffix(".fsproj")]
    if not projects:
        return None
    names = manifests.dotnet_names(projects)
    runner = read_catalogue("dotnet").find_first("tests", names)
    return _make_stack(
        "F#" if not sources.texts_by_suffix(".csproj") else "C#",
        names,
        "dotnet",
        runner,
        "dotnet test" if runner else None,
    )


FINDERS: tuple[Callable[[ManifestFiles], Stack | None], ...] = (
    find_python,
    find_node,
    find_go,
    find_rust,
    find_java,
    find_ruby,
    find_php,
    find_dotnet,
)
"""The finders in the order in which they list the stacks of a directory."""


def tests_without_manifest(language: str, paths: Sequence[str]) -> tuple[str | None, str | None]:
    """Return test framework and command of a repository without manifests."""
    if language == "Python" and any(_PYTHON_TEST.fullmatch(path) for path in paths):
        return "pytest", "python -m pytest -q"
    return None, None


def databases_of_file(name: str, text: str) -> list[str]:
    """Return the databases that a compose file or Prisma's schema names."""
    if name == "schema.prisma":
        match = re.search(r"\bprovider\s*=\s*\"(postgresql|mysql|sqlite|sqlserver|mongodb|cockroachdb)\"", text)
        return [database_of_image(match[1]) or match[1]] if match else []
    if "compose" in name:
        images = re.findall(r"^[ \t]*image:[ \t]*[\"']?(?:[\w.-]+/)*([\w-]+)", text, re.MULTILINE)
        return [database for image in images if (database := database_of_image(image))]
    return []
