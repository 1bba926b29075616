"""Set-up of Node projects: npm, pnpm, yarn (1 and berry) or bun, in the version that the repository requests."""

import re
import shlex

from agents.detection.manifests import nested_table, parse_json_object
from agents.detection.setup.plan import TOOLS, ProjectFiles, Requirement, SetupPlan, SetupStep

HOSTS = ["registry.npmjs.org", "registry.yarnpkg.com"]

_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb")
_MANIFESTS = ("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", "lerna.json")
_DECLARED = re.compile(r"(npm|pnpm|yarn|bun)@(\d+(?:\.\d+){0,2}(?:-[\w.]+)?)")
_DEFAULT_MAJOR = {"pnpm": "10", "bun": "1"}
_PNPM_OF_LOCK = {"5": "7", "6": "8", "9": "10"}
"""Major version of pnpm that writes a lock file of this format: https://pnpm.io/git#lockfiles"""

# Install even if a lock file does not match its manifest, or if an install script needs a .git.
_NPM_LOCKED = "npm ci || npm ci --ignore-scripts || npm install --ignore-scripts"
_NPM_UNLOCKED = "npm install || npm install --ignore-scripts"

_NO_DOWNLOADS = {
    # Install scripts that fetch a browser or a binary from elsewhere; tests that need one are red at the base.
    "PUPPETEER_SKIP_DOWNLOAD": "1",
    "PUPPETEER_SKIP_CHROMIUM_DOWNLOAD": "1",
    "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
    "CYPRESS_INSTALL_BINARY": "0",
    "ELECTRON_SKIP_BINARY_DOWNLOAD": "1",
    "SENTRYCLI_SKIP_DOWNLOAD": "1",
    "HUSKY": "0",
    "NX_DAEMON": "false",
    "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
    "COREPACK_ENABLE_STRICT": "0",
    "TURBO_TELEMETRY_DISABLED": "1",
    "NEXT_TELEMETRY_DISABLED": "1",
}


def plan_node(project: ProjectFiles) -> SetupPlan | None:
    """Derive the steps of a Node project; None for other directories."""
    if not project.has_file("package.json"):
        return None
    package = parse_json_object(project.read_text("package.json"))
    manager, version = node_manager(project, package)
    steps = [*_manager_steps(project, manager, version), *_install_steps(project, package, manager, version)]
    engine = nested_table(package, "engines").get("node")
    pinned = (project.read_text(".nvmrc") or project.read_text(".node-version")).strip()
    wanted = pinned or (engine if isinstance(engine, str) else "")
    return SetupPlan(
        steps=steps,
        requirements=[
            Requirement(
                tool="node",
                version=wanted[:60],
                reason=".nvmrc, .node-version or engines asks for it" if wanted else "package.json",
                remedy="install it by nvm, fnm or mise, or from https://nodejs.org; Debian's package is `nodejs`",
            )
        ],
        key_files=[project.root_path(name) for name in (*_LOCKS, *_MANIFESTS) if project.has_file(name)]
        + [project.root_path(path) for path in project.paths if path.endswith("/package.json")][:200],
        env={**_NO_DOWNLOADS, "npm_config_yes": "true"},
        search_path=[f"{TOOLS}/bin"],
        hosts=[*HOSTS, *_hosts_of(project)],
    )


def node_manager(project: ProjectFiles, package: dict[str, object]) -> tuple[str, str]:
    """Return the package manager and its version, by `packageManager` or the lock file; empty for the machine's."""
    declared = package.get("packageManager")
    if isinstance(declared, str) and (match := _DECLARED.match(declared)):
        return match[1], match[2]
    if project.has_file("pnpm-lock.yaml"):
        found = re.search(r"^lockfileVersion:\s*['\"]?(\d+)", project.read_text("pnpm-lock.yaml"), re.MULTILINE)
        return "pnpm", _PNPM_OF_LOCK.get(found[1] if found else "", _DEFAULT_MAJOR["pnpm"])
    if project.has_file("yarn.lock"):
        berry = "__metadata:" in project.read_text("yarn.lock") or project.has_file(".yarnrc.yml")
        return "yarn", "4" if berry else "1"
    if project.has_file("bun.lock", "bun.lockb"):
        return "bun", _DEFAULT_MAJOR["bun"]
    return "npm", ""


def _manager_steps(project: ProjectFiles, manager: str, version: str) -> list[SetupStep]:
    """Install the package manager below HOME; npm comes with Node."""
    if manager == "npm":
        return []
    package = "@yarnpkg/cli-dist" if manager == "yarn" and not version.startswith("1") else manager
    command = f"npm install --global --no-audit --prefix {TOOLS} {shlex.quote(f'{package}@{version}')}"
    return [project.make_step(command, f"the repository installs by {manager} {version}")]


def _install_steps(project: ProjectFiles, package: dict[str, object], manager: str, version: str) -> list[SetupStep]:
    if manager == "npm":
        locked = project.has_file("package-lock.json", "npm-shrinkwrap.json")
        steps = [
            project.make_step(
                _NPM_LOCKED if locked else _NPM_UNLOCKED,
                "package-lock.json pins what is installed" if locked else "package.json names what is installed",
            )
        ]
    elif manager == "pnpm":
        locked = project.has_file("pnpm-lock.yaml")
        option = " --frozen-lockfile" if locked else ""
        steps = [project.make_step(f"pnpm install{option}", "pnpm-lock.yaml pins what is installed")]
    elif manager == "bun":
        steps = [
            project.make_step("bun install --frozen-lockfile || bun install", "bun's lock file pins what is installed")
        ]
    elif version.startswith("1"):
        steps = [
            project.make_step("yarn install --frozen-lockfile --non-interactive", "yarn.lock pins what is installed")
        ]
    else:
        steps = [project.make_step("yarn install --immutable", "yarn.lock pins what is installed")]
    scripts = nested_table(package, "scripts")
    if (project.has_file("schema.prisma") or "prisma/schema.prisma" in project.paths) and "postinstall" not in scripts:
        steps.append(project.make_step("npx prisma generate", "Prisma's client is generated from schema.prisma"))
    return steps


def _hosts_of(project: ProjectFiles) -> list[str]:
    """Return the hosts that lock files name besides the registry."""
    text = "\n".join(project.read_text(name) for name in (*_LOCKS, ".npmrc", ".yarnrc.yml"))
    found = re.findall(
        r"(?:resolved[\"']?:?\s+[\"']?|registry=|tarball: )(?:git\+)?https?://(?:[^@/\s\"']*@)?([\w.-]+)", text
    )
    return sorted({host.lower() for host in found} - set(HOSTS))[:20]
