"""The options `--repo` and `--base`, checked before a server is started."""

import re
from pathlib import Path

import pygit2
from pygit2.enums import Option

from baton.errors import RepositoryError
from baton.text.redaction import has_url_credentials, strip_url_credentials
from workspaces.store.target_repository import explain_stderr

_SCP = re.compile(r"[\w.-]+@[\w.-]+:.+")


def resolve_repository(repo: str, base: str | None) -> str:
    """Return an absolute path, or the URL as it is; raises RepositoryError.

    A local repository is opened at once; a URL is opened when the run begins.
    """
    if not repo.strip():
        raise RepositoryError("--repo is empty: name a path or a URL (`.` is the current directory).")
    if "://" in repo:
        if has_url_credentials(repo):
            raise RepositoryError(
                f"The URL {strip_url_credentials(repo)} was given with credentials in it: leave them out, and let git's"
                " credential helper or an SSH key open the repository."
            )
        return repo
    if _SCP.fullmatch(repo) and not Path(repo).exists():
        return repo
    path = Path(repo).expanduser().absolute()
    if not path.exists():
        raise RepositoryError(f"There is no repository {path}: the path does not exist.")
    return _check_repository(path, base)


def _find_checkout(path: Path, git_dir: Path) -> Path:
    """Return the checkout that a path lies in, by its `.git`, which may be a file that names the git directory."""
    for place in (path, *path.parents):
        link = place / ".git"
        if link.is_file() and (text := link.read_text(errors="replace")).startswith("gitdir: "):
            if (place / text.removeprefix("gitdir: ").rstrip("\n")).resolve() == git_dir.resolve():
                return place
        elif link.is_dir() and link.resolve() == git_dir.resolve():
            return place
    return git_dir


def _check_repository(path: Path, base: str | None) -> str:

    found = pygit2.discover_repository(str(path))
    if found is None:
        raise RepositoryError(f"{path} is not a git repository: make it one with `git init` and a first commit.")
    top = _find_checkout(path, Path(found))
    pygit2.option(Option.SET_EXTENSIONS, ["partialclone"], 1)
    try:
        repository = pygit2.Repository(str(top))
    except pygit2.GitError as error:
        if any(words in str(error) for words in ("unsupported extension", "not owned by current user")):
            return str(top)  # the person's git may support or trust it: git opens it when the run begins
        reason = explain_stderr(str(error)) or str(error)
        raise RepositoryError(f"The repository {path} cannot be opened: {reason}.") from error
    root = str(top) if repository.is_bare else str(Path(repository.workdir).absolute())
    if base is None:
        if repository.head_is_unborn:
            raise RepositoryError(f"The repository {root} has no commits yet: make a first one, or name a --base.")
        return root
    try:
        named = repository.revparse_single(base)
        named.peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise RepositoryError(
            f"The base {base} does not exist in {root}: name a branch, a tag or a commit of it."
        ) from error
    return root
