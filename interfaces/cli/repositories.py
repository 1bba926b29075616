"""Checks what `--repo` and `--base` name before anything is started."""

import re
from pathlib import Path

from baton.errors import RepositoryError
from baton.redaction import has_url_credentials, strip_url_credentials

_SCP = re.compile(r"[\w.-]+@[\w.-]+:.+")


def resolve_repository(repo: str, base: str | None) -> str:
    """An absolute path, or the URL as it is; raises RepositoryError in one sentence.

    A local repository is looked into at once; a URL is, when the run begins.
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
    return _look_into(path, base)


def _look_into(path: Path, base: str | None) -> str:
    import pygit2

    found = pygit2.discover_repository(str(path))
    if found is None:
        raise RepositoryError(f"{path} is not a git repository: make it one with `git init` and a first commit.")
    try:
        repository = pygit2.Repository(found)
    except pygit2.GitError as error:
        raise RepositoryError(f"The repository {path} cannot be opened: {error}.") from error
    root = str(Path(repository.workdir or repository.path).absolute())
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
