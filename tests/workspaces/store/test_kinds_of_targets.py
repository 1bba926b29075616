"""Every kind of repository that git makes, as the target of a run: it works, or one sentence says what to do."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from baton.errors import RepositoryAway, RepositoryError
from interfaces.cli.runs.repo_argument import resolve_repository
from tests.support.git_over_http import serving
from tests.workspaces.conftest import AT, Project, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.delivery.merge import commit_tree
from workspaces.delivery.push_branch import push_branch
from workspaces.git.tree_codec import TreeEntry
from workspaces.store.fetch import DIRTY_NOTE, ResolvedBase
from workspaces.store.store import Store

BRANCH = "baton/run-1"


@pytest.fixture
def origin(tmp_path: Path) -> Project:
    """A repository with a history in which files come, change and go."""
    project = Project(tmp_path / "origin")
    for number in range(5):
        files = {
            f"src/f{number}.py": b"# %d\n" % number * 100,
            "same.txt": b"%d\n" % number,
            f"web/p{number}": b"x" * number,
        }
        project.commit(files, f"change {number}")
    project.git("rm", "--quiet", "src/f0.py")
    project.commit({}, "remove")
    project.git("tag", "-a", "-m", "one", "v1", "HEAD~2")
    project.git("config", "uploadpack.allowFilter", "true")
    project.git("config", "uploadpack.allowAnySHA1InWant", "true")
    return project


def clone(origin: Project, *options: str) -> Path:
    place = origin.path.with_name("target")
    run_git(origin.path.parent, "clone", "--quiet", *options, origin.path.as_uri(), str(place))
    return place


def with_a_commit(place: Path) -> Path:
    """The same with a commit of its own, which no remote has."""
    (place / "own.txt").write_text("own\n")
    run_git(place, "add", "--sparse", "own.txt")
    run_git(place, "commit", "--quiet", "-m", "own")
    return place


def tree_less(origin: Project) -> Path:
    return clone(origin, "--filter=tree:0", "--no-checkout")


def tree_less_and_own(origin: Project) -> Path:
    return with_a_commit(clone(origin, "--filter=tree:0"))


def blob_less_and_sparse(origin: Project) -> Path:
    place = clone(origin, "--filter=blob:none", "--sparse")
    run_git(place, "sparse-checkout", "set", "src")
    return with_a_commit(place)


def old_partial(origin: Project) -> Path:
    """As git before 2.27 made them."""
    place = clone(origin, "--filter=blob:none", "--no-checkout")
    run_git(place, "config", "extensions.partialClone", "origin")
    run_git(place, "config", "--unset", "remote.origin.promisor")
    return place


def reverted(origin: Project) -> Path:
    """A commit that takes up again what the clone has never had."""
    place = clone(origin, "--filter=blob:none")
    tree = run_git(place, "rev-parse", "HEAD~4^{tree}")
    commit = run_git(place, "commit-tree", "-p", "HEAD", "-m", "back", tree)
    run_git(place, "update-ref", "HEAD", commit)
    return place


def shallow_and_partial(origin: Project) -> Path:
    return clone(origin, "--depth=2", "--filter=blob:none", "--no-checkout")


def sparse_cone(origin: Project) -> Path:
    place = clone(origin)
    run_git(place, "sparse-checkout", "set", "--cone", "--sparse-index", "src")
    return with_a_commit(place)


def sparse_patterns(origin: Project) -> Path:
    place = clone(origin)
    run_git(place, "sparse-checkout", "set", "--no-cone", "*.txt")
    return with_a_commit(place)


def linked_worktree(origin: Project) -> Path:
    place = origin.path.with_name("linked")
    origin.git("worktree", "add", "--quiet", "-b", "side", str(place))
    return with_a_commit(place)


def worktree_of_a_bare_one(origin: Project) -> Path:
    bare = clone(origin, "--bare")
    place = origin.path.with_name("linked")
    run_git(bare, "worktree", "add", "--quiet", "-b", "side", str(place))
    return with_a_commit(place)


def borrowing(origin: Project) -> Path:
    place = origin.path.with_name("target")
    run_git(origin.path.parent, "clone", "--quiet", "--shared", str(origin.path), str(place))
    return with_a_commit(place)


def borrowing_from_a_partial_one(origin: Project) -> Path:
    """`--shared` from a partial clone: git makes no partial clone of that, and it lacks the same objects."""
    middle = clone(origin, "--filter=blob:none").rename(origin.path.with_name("middle"))
    place = origin.path.with_name("target")
    run_git(origin.path.parent, "clone", "--quiet", "--shared", "--no-checkout", str(middle), str(place))
    run_git(place, "config", "remote.origin.url", origin.path.as_uri())
    run_git(place, "config", "remote.origin.promisor", "true")
    return place


def detached(origin: Project) -> Path:
    place = clone(origin)
    run_git(place, "checkout", "--quiet", "--detach", "HEAD~1")
    return with_a_commit(place)


def separate_git_dir(origin: Project) -> Path:
    return with_a_commit(clone(origin, f"--separate-git-dir={origin.path.with_name('elsewhere')}"))


def packed_refs(origin: Project) -> Path:
    place = clone(origin, "--mirror")
    run_git(place, "pack-refs", "--all")
    return place


def with_submodule(origin: Project) -> Path:
    place = clone(origin)
    allowed = ("-c", "protocol.file.allow=always")
    run_git(place, *allowed, "submodule", "--quiet", "add", origin.path.as_uri(), "lib")
    run_git(place, "commit", "--quiet", "-m", "submodule")
    run_git(place, "submodule", "--quiet", "absorbgitdirs")
    return place


def absorbed_submodule(origin: Project) -> Path:
    return with_a_commit(with_submodule(origin) / "lib")


KINDS: dict[str, Callable[[Project], Path]] = {
    "blob:none": lambda origin: clone(origin, "--filter=blob:none"),
    "blob:none, without a checkout": lambda origin: clone(origin, "--filter=blob:none", "--no-checkout"),
    "blob:none, bare": lambda origin: clone(origin, "--filter=blob:none", "--bare"),
    "blob:none, sparse, own commit": blob_less_and_sparse,
    "blob:limit": lambda origin: clone(origin, "--filter=blob:limit=3", "--no-checkout"),
    "tree:0": tree_less,
    "tree:0, bare": lambda origin: clone(origin, "--filter=tree:0", "--bare"),
    "tree:0, own commit": tree_less_and_own,
    "partial, as older git made it": old_partial,
    "partial, old contents again": reverted,
    "partial and shallow": shallow_and_partial,
    "shallow": lambda origin: with_a_commit(clone(origin, "--depth=1")),
    "sparse, cone": sparse_cone,
    "sparse, patterns": sparse_patterns,
    "linked worktree": linked_worktree,
    "worktree of a bare one": worktree_of_a_bare_one,
    "bare": lambda origin: clone(origin, "--bare"),
    "mirror": packed_refs,
    "borrowing": borrowing,
    "borrowing from a partial one": borrowing_from_a_partial_one,
    "detached": detached,
    "separate git dir": separate_git_dir,
    "with a submodule": with_submodule,
    "absorbed submodule": absorbed_submodule,
}


async def use(home: Path, place: Path) -> tuple[Store, ResolvedBase]:
    """Fetch, begin a task, and publish a branch with a change, as a run does."""
    store = await Store.open(home, resolve_repository(str(place), None))
    base = await store.fetch_base(None)
    await Checkpoints(store).begin_lane(Lane("run-1", "task-1"), base.commit, at=AT)
    for path in await store.list_paths(base.commit):
        assert path == "lib" or await store.read_file(base.commit, path) is not None
    tree = store.objects.edit_tree(
        store.find_tree(base.commit), {"new.txt": TreeEntry(0o100644, store.objects.write_blob(b"new\n"))}
    )
    commit = await commit_tree(store, tree, [base.commit], "published", AT)
    await push_branch(store, commit, BRANCH, expected=None)
    return store, base


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_starts_from_it_and_publishes_to_it(origin: Project, tmp_path: Path, kind: str) -> None:
    place = KINDS[kind](origin)
    head = run_git(place, "rev-parse", "HEAD")
    # For a clone without trees git fetches them to say its status.
    changes = partial(run_git, place, "status", "--porcelain", check=False)
    status = "" if kind.startswith("tree:0") else changes()
    store, base = await use(tmp_path / "home", place)
    assert base.commit == head
    assert run_git(place, "rev-parse", "HEAD") == head
    assert kind.startswith("tree:0") or changes() == status
    assert run_git(place, "show", f"{BRANCH}:new.txt") == "new"
    assert run_git(place, "log", "--format=%s", "-1", BRANCH) == "published"
    # What the engine keeps is whole: it needs no remote any more.
    run_git(store.source_path, "fsck", "--full", "--strict", "--no-dangling")
    assert kind.startswith(("tree:0", "partial")) or (DIRTY_NOTE in base.notes) == bool(status)
    lacking = "remote.origin.promisor" in run_git(place, "config", "--list") or "older" in kind
    assert any("partial clone" in note for note in base.notes) == lacking
    again = await store.fetch_base(None)
    assert not any("partial clone" in note for note in again.notes)


@pytest.mark.parametrize("kind", ["blob:none, bare", "tree:0", "partial, old contents again"])
async def test_a_partial_clone_whose_remote_is_gone(origin: Project, tmp_path: Path, kind: str) -> None:
    place = KINDS[kind](origin)
    shutil.rmtree(origin.path)
    with pytest.raises(RepositoryError) as failure:
        await use(tmp_path / "home", place)
    assert failure.value.exit_code == 2
    sentence = str(failure.value)
    assert "is a partial clone" in sentence
    assert "name a complete clone or the remote itself" in sentence
    assert "corrupt" not in sentence
    assert len(sentence) < 600


async def test_a_partial_clone_whose_remote_does_not_answer(origin: Project, tmp_path: Path) -> None:
    place = KINDS["blob:none, bare"](origin)
    run_git(place, "config", "remote.origin.url", "http://127.0.0.1:9/x.git")
    with pytest.raises(RepositoryAway, match=r"cannot be reached; check the address and the network\. Repair that"):
        await use(tmp_path / "home", place)


async def test_a_partial_clone_whose_remote_lacks_it_too(origin: Project, tmp_path: Path) -> None:
    place = KINDS["blob:none, bare"](origin)
    other = Project(tmp_path / "other")
    other.commit({"a": b"a"})
    run_git(place, "config", "remote.origin.url", str(other.path))
    with pytest.raises(RepositoryError, match="is a partial clone"):
        await use(tmp_path / "home", place)


@pytest.mark.parametrize(
    "url", ["", "ext::sh -c 'touch {canary}'", "--upload-pack=touch {canary}", "../origin", "fd::1"]
)
async def test_the_address_of_a_promise_is_no_program(origin: Project, tmp_path: Path, url: str) -> None:
    place = KINDS["blob:none, bare"](origin)
    canary = tmp_path / "canary"
    run_git(place, "config", "remote.origin.url", url.format(canary=canary))
    with pytest.raises(RepositoryError, match="names no address for them"):
        await use(tmp_path / "home", place)
    assert not canary.exists()


async def test_a_partial_clone_runs_nothing_of_its_own_or_its_remote(origin: Project, tmp_path: Path) -> None:
    place = KINDS["blob:none, bare"](origin)
    canary = tmp_path / "canary"
    for repository in (place, origin.path):
        for key in ("core.sshCommand", "core.gitProxy", "core.fsmonitor", "uploadpack.packObjectsHook", "core.askPass"):
            run_git(repository, "config", key, f"touch {canary}; :")
        run_git(repository, "config", "credential.helper", f"!touch {canary}; :")
    run_git(place, "config", "remote.origin.uploadpack", f"touch {canary}; git-upload-pack")
    run_git(place, "config", "remote.origin.vcs", "canary")
    run_git(place, "config", "url.ext::sh.insteadOf", "file://")
    await use(tmp_path / "home", place)
    assert not canary.exists()


async def test_the_remote_of_a_partial_clone_is_asked_with_the_persons_credentials(
    origin: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = KINDS["blob:none, bare"](origin)
    shutil.copytree(origin.path / ".git", tmp_path / "served/x.git")
    settings = tmp_path / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    with serving(tmp_path / "served") as port:
        run_git(place, "config", "remote.origin.url", f"http://127.0.0.1:{port}/x.git")
        settings.write_text("")
        with pytest.raises(RepositoryError, match="access was denied"):
            await use(tmp_path / "home", place)
        helper = "!f() { echo username=ada; echo 'password=canary-p4ss:w%rd'; }; f"
        run_git(tmp_path, "config", "--file", str(settings), "credential.helper", helper)
        _, base = await use(tmp_path / "home", place)
    (note,) = [note for note in base.notes if "partial" in note]
    assert "canary" not in note


def sha256(place: Path) -> None:
    run_git(place.parent, "init", "--quiet", "--object-format=sha256", str(place))
    run_git(place, "commit", "--quiet", "--allow-empty", "-m", "first")


def reftable(place: Path) -> None:
    """A format that the git of this machine may not know; then it says so."""
    Project(place).commit({"a": b"a"})
    run_git(place, "config", "core.repositoryFormatVersion", "1")
    run_git(place, "config", "extensions.refStorage", "no-such-storage")


def empty(place: Path) -> None:
    Project(place)


def empty_bare(place: Path) -> None:
    run_git(place.parent, "init", "--quiet", "--bare", str(place))


def unborn(place: Path) -> None:
    """Commits, but none on the branch that HEAD is on."""
    Project(place).commit({"a": b"a"})
    run_git(place, "checkout", "--quiet", "--orphan", "other")


def broken(place: Path) -> None:
    Project(place).commit({"a": b"a"})
    for packed in (place / ".git/objects").glob("??/*"):
        packed.unlink()


def of_another(place: Path) -> None:
    Project(place).commit({"a": b"a"})
    for path in [place, *place.rglob("*")]:
        os.chown(path, 12345, 12345)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "SHA-256": (sha256, "SHA-256 object ids, which are not supported"),
    "a storage of refs that is not known": (reftable, "format is newer than the git on this machine"),
    "empty": (empty, "make a first"),
    "empty and bare": (empty_bare, "make a first"),
    "unborn": (unborn, "name a"),
    "without its objects": (broken, "objects are missing or damaged"),
    "of another user": (of_another, "safe.directory"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("by_command", [False, True])
async def test_one_sentence_says_why_it_cannot_be_used(tmp_path: Path, kind: str, by_command: bool) -> None:
    make, words = REFUSED[kind]
    if kind == "of another user" and os.geteuid() != 0:
        pytest.skip("Only root can give a file to another user.")
    place = tmp_path / "target"
    make(place)

    async def fetch() -> None:
        repo = resolve_repository(str(place), None) if by_command else str(place)
        await (await Store.open(tmp_path / "home", repo)).fetch_base(None)

    with pytest.raises(RepositoryError) as failure:
        await fetch()
    sentence = str(failure.value)
    assert words in sentence
    assert str(place) in sentence
    assert "Traceback" not in sentence
    assert sentence.count("\n") == 0
    assert len(sentence) < 500
    assert failure.value.exit_code == 2
