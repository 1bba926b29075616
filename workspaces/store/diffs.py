"""Diffs between commits, trees, or directories of commits (`<commit>:workspace`), as `git diff` makes them."""

from pathlib import Path

from workspaces.git.run import call_git
from workspaces.store.store import Store

_OPTIONS = (
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--find-renames",
    "--submodule=short",
    "--ignore-submodules=none",
    "--no-relative",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
"""Every option that decides how a patch looks, so that neither a version's default nor a file does."""


async def diff_text(store: Store, old: str, new: str, limit: int) -> str:
    """Return a patch of at most `limit` bytes, with a last line that says so if it was longer."""
    result = await _run_diff(store, old, new, "--unified=3", limit=limit)
    text = result[0].decode(errors="replace")
    return f"{text}\n... (the rest of the diff is left out)\n" if result[1] else text


async def write_patch(store: Store, old: str, new: str, file: Path) -> None:
    """Write a patch byte for byte as `git apply` needs it, binary files too."""
    await _run_diff(store, old, new, "--unified=3", "--binary", "--full-index", f"--output={file}")


async def count_lines(store: Store, old: str, new: str) -> bytes:
    """Return the lines that were added and removed in each file, as `git diff --numstat -z` writes them."""
    return (await _run_diff(store, old, new, "--numstat", "-z"))[0]


async def _run_diff(store: Store, old: str, new: str, *options: str, limit: int | None = None) -> tuple[bytes, bool]:
    trees = [store.find_tree(old), store.find_tree(new)]
    result = await call_git(["diff", *_OPTIONS, *options, *trees, "--"], git_dir=store.path, limit=limit)
    return result.stdout, result.cut
