"""The set-up of a repository, from the finders of languages for each directory in which a test command runs."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from agents.detection.detect import Technology
from agents.detection.setup.node_setup import HOSTS as NODE_HOSTS
from agents.detection.setup.node_setup import plan_node
from agents.detection.setup.other_setups import HOSTS as OTHER_HOSTS
from agents.detection.setup.other_setups import plan_dotnet, plan_go, plan_jvm, plan_php, plan_ruby, plan_rust
from agents.detection.setup.plan import ProjectFiles, SetupPlan
from agents.detection.setup.python_setup import HOSTS as PYTHON_HOSTS
from agents.detection.setup.python_setup import plan_python

REGISTRIES = frozenset({*PYTHON_HOSTS, *NODE_HOSTS, *OTHER_HOSTS})
"""The public registries of all package managers; a person's machine may reach them by a mirror in a private network."""

FINDERS = {
    "Python": plan_python,
    "JavaScript": plan_node,
    "TypeScript": plan_node,
    "Go": plan_go,
    "Rust": plan_rust,
    "Java": plan_jvm,
    "Kotlin": plan_jvm,
    "Ruby": plan_ruby,
    "PHP": plan_php,
    "C#": plan_dotnet,
    "F#": plan_dotnet,
}

_READ = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    "Pipfile",
    "Pipfile.lock",
    "uv.lock",
    "poetry.lock",
    "requirements*.txt",
    ".python-version",
    "package.json",
    ".npmrc",
    ".yarnrc.yml",
    ".nvmrc",
    ".node-version",
    "pnpm-lock.yaml",
    "yarn.lock",
    "package-lock.json",
    "go.mod",
    "go.work",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".ruby-version",
)
MAX_TEXT = 2_000_000
"""Maximum bytes of a file that are read; the rest of a longer one is ignored."""

_MAX_DIRECTORIES = 4


def readable_files(paths: Iterable[str]) -> list[str]:
    """Return the paths that `derive_setup` needs with their texts; they lie in the first three levels."""
    return [
        path
        for path in paths
        if path.count("/") <= 2 and any(fnmatchcase(path.rpartition("/")[2], pattern) for pattern in _READ)
    ][:200]


def derive_setup(paths: Sequence[str], read: Mapping[str, str], technology: Technology) -> SetupPlan:
    """Derive how a repository's dependencies are installed from its paths and the texts of its manifests.

    The main stack's directory is set up and every other one that has tests of its own; a directory that a workspace
    above it covers is not set up twice. Never raises on content.
    """
    chosen: list[tuple[str, str]] = []
    for number, stack in enumerate(technology.stacks):
        if number == 0 or stack.test_command:
            covered = any(
                language == stack.language and (not above or f"{stack.directory}/".startswith(f"{above}/"))
                for above, language in chosen
            )
            if not covered:
                chosen.append((stack.directory, stack.language))
    plans = []
    for directory, language in chosen[:_MAX_DIRECTORIES]:
        finder = FINDERS.get(language)
        plan = finder(view_project(directory, paths, read)) if finder else None
        if plan is not None:
            plans.append(plan)
    return merge_plans(plans)


def view_project(directory: str, paths: Sequence[str], read: Mapping[str, str]) -> ProjectFiles:
    """Return the files of one directory for the finders."""
    prefix = f"{directory}/" if directory else ""
    below = [path[len(prefix) :] for path in paths if path.startswith(prefix)]
    texts = {path[len(prefix) :]: text for path, text in read.items() if path.startswith(prefix)}
    return ProjectFiles(directory, texts, below, frozenset(path for path in below if "/" not in path))


def merge_plans(plans: Sequence[SetupPlan]) -> SetupPlan:
    """Join the plans of several directories; an entry that several of them have appears once."""
    env: dict[str, str] = {}
    for plan in plans:
        env |= plan.env
    return SetupPlan(
        steps=list(dict.fromkeys(step for plan in plans for step in plan.steps)),
        requirements=list(dict.fromkeys(one for plan in plans for one in plan.requirements)),
        key_files=list(dict.fromkeys(path for plan in plans for path in plan.key_files)),
        env=env,
        search_path=list(dict.fromkeys(path for plan in plans for path in plan.search_path)),
        hosts=list(dict.fromkeys(host for plan in plans for host in plan.hosts)),
        notes=[note for plan in plans for note in plan.notes],
    )
