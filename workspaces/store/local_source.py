"""Repositories at a path, served by git on this machine: no program of their hooks or their configuration runs.

For a path (or `file://`) git starts the serving side here, outside the sandbox, with the configuration of that
repository, which a stranger may have made. It drops the environment of the asking side, so the settings go on the
command line of the serving one. Over ssh and http hooks run on their own host, out of our reach.
"""

import re
import shlex
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pygit2

from system.uncancellable import run_in_thread
from workspaces.git.object_database import prepare_library
from workspaces.git.run import call_git, git_program

Side = Literal["upload-pack", "receive-pack"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

HOOKS = (
    "pre-receive",
    "update",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "proc-receive",
    "pre-auto-gc",
)
"""Hooks that git runs for a push or what follows it: https://git-scm.com/docs/githooks"""

PROGRAMS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.sshCommand": "false",
    "core.gitProxy": "false",
    "core.askPass": "false",
    "core.pager": "cat",
    "core.editor": "false",
    # Run with the path of a borrowed repository; it lists no refs.
    "core.alternateRefsCommand": "true",
    "credential.helper": "",
    "diff.external": "",
    "gpg.program": "false",
    # Maintenance runs hooks and commands of its own (pre-auto-gc, gc.recentObjectsHook).
    "receive.autoGC": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "gc.recentObjectsHook": "",
    # `updateInstead` writes to the checkout, by the filters that are set there.
    "receive.denyCurrentBranch": "refuse",
}
"""All of a repository's configuration that could name a program for the serving side: https://git-scm.com/docs/git-config"""


def is_local(url: str) -> bool:
    """Whether git serves an address by a process on this machine, by git's own rule for paths."""
    if _SCHEME.match(url):
        return url.lower().startswith("file://")
    colon, slash = url.find(":"), url.find("/")
    return colon == -1 or -1 < slash < colon


async def guard_options(side: Side, repo: str, git_dir: Path, *, hooks: bool) -> list[str]:
    """Return options for a git command that asks a repository, so that it runs no program of its own; none for
    other hosts.

    `hooks` are run if a person's setting allows it. `git_dir` is a repository of ours to ask from: by the configuration
    of the person's git (`insteadOf`) a URL may stand for a path, and a path for a URL.
    """
    if hooks:
        return []
    url = await _effective_url(side, repo, git_dir)
    if not is_local(url):
        return []
    names = await run_in_thread(_configured_hooks, url)
    settings = [*PROGRAMS.items(), *((f"hook.{name}.enabled", "false") for name in names)]
    words = ["/usr/bin/env", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1", f"GIT_CONFIG_COUNT={len(settings)}"]
    for number, (key, value) in enumerate(settings):
        words += [f"GIT_CONFIG_KEY_{number}={key}", f"GIT_CONFIG_VALUE_{number}={value}"]
    return [f"--{side}={shlex.join([*words, git_program(), side])}"]


async def _effective_url(side: Side, repo: str, git_dir: Path) -> str:
    """Return the address that the person's own git makes of another: `url.<base>.insteadOf` in git-config(1)."""
    asked = ["config", "-z", "--get-regexp", r"^url\..*\.(pushinsteadof|insteadof)$"]
    found = await call_git(asked, git_dir=git_dir, persons=True, check=False)
    entries = [(key, value) for key, _, value in (entry.partition("\n") for entry in found.split_names())]
    for suffix in (".pushinsteadof", ".insteadof") if side == "receive-pack" else (".insteadof",):
        fitting = [(value, key) for key, value in entries if key.endswith(suffix) and value and repo.startswith(value)]
        if fitting:
            start, key = max(fitting, key=lambda found: len(found[0]))
            return key.removeprefix("url.").removesuffix(suffix) + repo.removeprefix(start)
    return repo


async def promisor_of(repo: str, git_dir: Path) -> tuple[Path, str] | None:
    """Return the git directory of a partial clone at a path, and the address of the remote that has its missing
    objects.

    None if `repo` is no partial clone; the address is empty if its configuration has none.
    """
    url = await _effective_url("upload-pack", repo, git_dir)
    return await run_in_thread(_find_promisor, url) if is_local(url) else None


def _find_promisor(repo: str) -> tuple[Path, str] | None:
    git_dir = _git_dir(repo)
    if git_dir is None:
        return None
    config = _read_config(git_dir)
    names = [config["extensions.partialclone"]] if config.get("extensions.partialclone") else []
    for key, value in config.items():
        if key.startswith("remote.") and key.endswith(".promisor") and _is_true(value):
            names.append(key.removeprefix("remote.").removesuffix(".promisor"))
    urls = [config.get(f"remote.{name}.url", "") for name in names]
    return (_common_dir(git_dir), next(filter(None, urls), "")) if names else None


def is_sparse(git_dir: Path) -> bool:
    """Whether a checkout is configured to leave files out."""
    return _is_true(_read_config(git_dir).get("core.sparsecheckout", "false"))


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "yes", "on", "1", "")


async def hooks_of(repo: str) -> list[str]:
    """Return the programs that a repository at a path would run at a push: its hooks, and settings that name one."""
    return await run_in_thread(_hooks_of, repo) if is_local(repo) else []


def _hooks_of(repo: str) -> list[str]:
    git_dir = _git_dir(repo)
    if git_dir is None:
        return []
    config = _read_config(git_dir)
    common = _common_dir(git_dir)
    path = config.get("core.hookspath")
    folder = Path(common if Path(path or "").is_absolute() else git_dir, path) if path else common / "hooks"
    found = []
    for name in HOOKS:
        try:
            if (folder / name).stat().st_mode & 0o111:
                found.append(name)
        except (OSError, ValueError):
            continue
    found += [name for name in ("core.alternateRefsCommand",) if name.lower() in config]
    found += [f"hook.{name}" for name in _named_hooks(config)]
    if config.get("receive.denycurrentbranch", "").lower() == "updateinstead":
        found.append("receive.denyCurrentBranch=updateInstead")
    return found


def _configured_hooks(repo: str) -> list[str]:
    """Return the names of hooks in a repository's configuration, as newer versions of git have them."""
    git_dir = _git_dir(repo)
    return _named_hooks(_read_config(git_dir)) if git_dir is not None else []


def _named_hooks(config: dict[str, str]) -> list[str]:
    names = [key.removeprefix("hook.").rpartition(".")[0] for key in config if key.startswith("hook.")]
    return [name for name in dict.fromkeys(names) if name and name.isprintable()]


def _git_dir(repo: str) -> Path | None:
    path = unquote(urlsplit(repo).path) if _SCHEME.match(repo) else repo
    for place in (Path(path), Path(f"{path}.git")):
        try:
            found = pygit2.discover_repository(str(place), False, str(place.parent))
        except (pygit2.GitError, KeyError, ValueError):
            continue
        if found:
            return Path(found)
    return None


def _common_dir(git_dir: Path) -> Path:
    """Return the directory of hooks and configuration: for a worktree, that of the repository it belongs to."""
    try:
        return Path(git_dir, (git_dir / "commondir").read_text().strip())
    except (OSError, ValueError):
        return git_dir


def _read_config(git_dir: Path) -> dict[str, str]:
    """Return the repository's own configuration with its includes, names in lower case, without files that cannot
    be read.
    """
    prepare_library()
    found: dict[str, str] = {}
    for path in (_common_dir(git_dir) / "config", git_dir / "config.worktree"):
        try:
            if path.is_file():
                found.update({str(entry.name): str(entry.value or "") for entry in pygit2.Config(str(path))})
        except (pygit2.GitError, OSError, ValueError, UnicodeError):
            continue
    return found
