"""Set-up of Node projects: npm, pnpm, yarn (1 and berry) or bun, in the version that the repository requests."""

import re
import shlex

from agents.detection.manifests import json_object, table
from agents.detection.setup.plan import TOOLS, Project, Requirement, SetupPlan, SetupStep

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


def plan_node(project: Project) -> SetupPlan | None:
    """Derive the steps of a Node project; None for other directories."""
    if not project.has("package.json"):
        return None
    package = json_object(project.text("package.json"))
    manager, version = node_manager(project, package)
    steps = [*_bring(project, manager, version), *_install(project, package, manager, version)]
    engine = table(package, "engines").get("node")
    pinned = (project.text(".nvmrc") or project.text(".node-version")).strip()
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
        key_files=[project.path(name) for name in (*_LOCKS, *_MANIFESTS) if project.has(name)]
        + [project.path(path) for path in project.paths if path.endswith("/package.json")][:200],
        env={**_NO_DOWNLOADS, "npm_config_yes": "true"},
        search_path=[f"{TOOLS}/bin"],
        hosts=[*HOSTS, *_hosts_of(project)],
    )


def node_manager(project: Project, package: dict[str, object]) -> tuple[str, str]:
    """Return the package manager and its version, by `packageManager` or the lock file; empty for the machine's."""
    declared = package.get("packageManager")
    if isinstance(declared, str) and (match := _DECLARED.match(declared)):
        return match[1], match[2]
    if project.has("pnpm-lock.yaml"):
        found = re.search(r"^lockfileVersion:\s*['\"]?(\d+)", project.text("pnpm-lock.yaml"), re.MULTILINE)
        return "pnpm", _PNPM_OF_LOCK.get(found[1] if found else "", _DEFAULT_MAJOR["pnpm"])
    if project.has("yarn.lock"):
        berry = "__metadata:" in project.text("yarn.lock") or project.has(".yarnrc.yml")
        return "yarn", "4" if berry else "1"
    if project.has("bun.lock", "bun.lockb"):
        return "bun", _DEFAULT_MAJOR["bun"]
    return "npm", ""


def _bring(project: Project, manager: str, version: str) -> list[SetupStep]:
    """Install the package manager below HOME; npm comes with Node."""
    if manager == "npm":
        return []
    package = "@yarnpkg/cli-dist" if manager == "yarn" and not version.startswith("1") else manager
    command = f"npm install --global --no-audit --prefix {TOOLS} {shlex.quote(f'{package}@{version}')}"
    return [project.step(command, f"the repository installs by {manager} {version}")]


def _install(project: Project, package: dict[str, object], manager: str, version: str) -> list[SetupStep]:
    if manager == "npm":
        locked = project.has("package-lock.json", "npm-shrinkwrap.json")
        steps = [
            project.step(
                _NPM_LOCKED if locked else _NPM_UNLOCKED,
                "package-lock.json pins what is installed" if locked else "package.json names what is installed",
            )
        ]
    elif manager == "pnpm":
        locked = project.has("pnpm-lock.yaml")
        option = " --frozen-lockfile" if locked else ""
        steps = [project.step(f"pnpm install{option}", "pnpm-lock.yaml pins what is installed")]
    elif manager == "bun":
        steps = [project.step("bun install --frozen-lockfile || bun install", "bun's lock file pins what is installed")]
    elif version.startswith("1"):
        steps = [project.step("yarn install --frozen-lockfile --non-interactive", "yarn.lock pins what is installed")]
    else:
        steps = [project.step("yarn install --immutable", "yarn.lock pins what is installed")]
    scripts = table(package, "scripts")
    if (project.has("schema.prisma") or "prisma/schema.prisma" in project.paths) and "postinstall" not in scripts:
        steps.append(project.step("npx prisma generate", "Prisma's client is generated from schema.prisma"))
    return steps


def _hosts_of(project: Project) -> list[str]:
    """Return the hosts that lock files name besides the registry."""
    text = "\n".join(project.text(name) for name in (*_LOCKS, ".npmrc", ".yarnrc.yml"))
    found = re.findall(
        r"(?:resolved[\"']?:?\s+[\"']?|registry=|tarball: )(?:git\+)?https?://(?:[^@/\s\"']*@)?([\w.-]+)", text
    )
    return sorted({host.lower() for host in found} - set(HOSTS))[:20]
