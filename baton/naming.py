"""Names that mean something in the Web UI, in refs and in branches, built from allow-lists only."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

_SLUG = re.compile(r"[^a-z0-9]+")
_SUFFIX_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_VALID_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_SCHEDULED = re.compile(r"(?P<run>.+)-\d{4}-\d\d-\d\dT\d\d(?P<colon>[:+])\d\d(?P=colon)\d\d(?:\.\d{1,9})?Z")
"""What a schedule of Temporal's makes of a workflow id: https://docs.temporal.io/schedule#spec; in refs with `+`."""
_COMMIT_REF = re.compile(r"refs/baton/[^/]+/(?P<task>[^/]+)/(?:candidate|landing/\d+)/(?P<commit>[0-9a-f]{40})")
_CONTENTS_REF = re.compile(r"refs/baton/[^/]+/[^/]+/lfs/[0-9a-f]{40}")
_VALID_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

TASK_QUEUE = "baton"
"""Workflows and activities that need no workspace."""

GITHUB_QUEUE = "baton-github"
"""Writes to GitHub's API: its workers do one at a time, and the server hands out only so many a second."""

GITHUB_READS = "baton-github-reads"
"""Reads from GitHub's API. Like the queue above, only workers with a credential for GitHub serve it."""

PLAN_TASK = "plan"
"""The task id under which the orchestrator works."""


def slug(text: str, limit: int = 40) -> str:
    """Lower-case letters, digits and dashes, cut at a word's end where that is possible; never empty."""
    words = _SLUG.sub("-", text.lower()).strip("-")
    if len(words) > limit:
        cut = words[:limit]
        words = cut.rsplit("-", 1)[0] if "-" in cut[limit // 2 :] else cut
    return words.strip("-") or "run"


def repo_name(repo: str) -> str:
    """The last part of a path or URL, without `.git`."""
    path = urlsplit(repo).path if "://" in repo else repo.rpartition(":")[2] if _is_scp(repo) else repo
    return path.rstrip("/").rpartition("/")[2].removesuffix(".git") or "repo"


def _is_scp(repo: str) -> bool:
    return bool(re.match(r"[\w.-]+@[\w.-]+:", repo))


def new_run_id(repo: str, task: str, *, discreet: bool = False) -> str:
    """`<repo>-<slug of the task>-<4 characters>`; discreet, with nothing of the task in it: `<repo>-<8 characters>`.

    Temporal keeps workflow ids in plain text, also where everything else is encrypted.
    """
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(8 if discreet else 4))
    name = slug(repo_name(repo), 24)
    return f"{name}-{suffix}" if discreet else f"{name}-{slug(task, 40)}-{suffix}"


def github_run_id(owner: str, name: str, number: int, attempt: int = 1) -> str:
    """`gh-<owner>-<name>-<number>`; the second run of an issue ends with `.2`: `-2` could be another repository's."""
    tail = f"-{number}" if attempt == 1 else f"-{number}.{attempt}"
    run = f"gh-{owner}-{name}{tail}"
    if is_run_id(run):
        return run
    # A name that is too long, or has two dots in a row: readable still, and not another repository's.
    digest = hashlib.sha256(f"{owner}/{name}".lower().encode()).hexdigest()[:10]
    return f"gh-{slug(owner, 40)}-{slug(name, 40)}-{digest}{tail}"


def github_branch(number: int, title: str, attempt: int = 1) -> str:
    """The branch of a run that works for an issue: `baton/issue-<number>-<slug of the title>`, then `...-2`."""
    return f"baton/issue-{number}-{slug(title, 50)}" + ("" if attempt == 1 else f"-{attempt}")


def is_run_id(text: str) -> bool:
    """Whether `text` may be a run id as it is: safe in a ref, a path and a branch name."""
    return bool(_VALID_RUN.fullmatch(text)) and ".." not in text and not text.endswith((".lock", "."))


def is_workflow_id(text: str) -> bool:
    """Whether a run's workflow may have this id: a run id, alone or with the time that a schedule adds."""
    timed = _SCHEDULED.fullmatch(text)
    return is_run_id(text) or bool(timed and timed["colon"] == ":" and is_run_id(timed["run"]))


def run_key(run: str) -> str:
    """Return the name of a run in refs, directories, branches and headers: its workflow id, with `+` for colons.

    No id has a `+`, so that two runs never share a name. The key of a key is that key.
    """
    return run.replace(":", "+") if is_workflow_id(run) else run


def is_run_key(text: str) -> bool:
    """Whether `text` is the name of a run as `run_key` makes them."""
    return is_run_id(text) or ("+" in text and is_workflow_id(text.replace("+", ":")))


def workflow_id_of(key: str) -> str:
    """Return the workflow id of a run by its key; an id is its own."""
    return key.replace("+", ":") if is_run_key(key) else key


def is_task_id(text: str) -> bool:
    """Whether `text` may be a task id: safe in a ref, a path and a workflow id."""
    return bool(_VALID_TASK.fullmatch(text))


def session_name(round_number: int, role: str) -> str:
    """`<round>-<role>`, the last part of a session's workflow id."""
    return f"{round_number}-{role}"


def task_workflow_id(run: str, task: str) -> str:
    """Workflow id of a task."""
    return f"{run_key(run)}/{task}"


def session_workflow_id(run: str, task: str, round_number: int, role: str) -> str:
    """Workflow id of a session."""
    return f"{run_key(run)}/{task}/{session_name(round_number, role)}"


def place_of(workflow_id: str) -> dict[str, str]:
    """What the id of one of our workflows says: run, task, round and role, as far as it goes."""
    run, task, session = (*workflow_id.split("/"), "", "")[:3]
    round_number, _, role = session.partition("-")
    named = {"run": run, "task": task, "round": round_number, "role": role}
    return {name: value for name, value in named.items() if value}


def branch(run: str) -> str:
    """The branch that a run publishes."""
    return f"baton/{run_key(run)}"


def run_queue(run: str) -> str:
    """Return the task queue of a run that a command works on: its worker takes no work of other runs."""
    return f"baton-run-{run}"


def is_run_queue(queue: str) -> bool:
    """Whether a task queue is that of a single run."""
    return queue.startswith(run_queue(""))


def host_queue(host: str, run: str = "") -> str:
    """Return the task queue of workspace activities on `host`: of all runs, or of one that a command works on."""
    return f"baton-ws-{host}-{run}" if run else f"baton-ws-{host}"


def presence_queue(queue: str) -> str:
    """Task queue on which a host says that it lives, however busy it is; `queue` is that of its work."""
    return f"{queue}-presence"


def task_ref(run: str, task: str) -> str:
    """The ref whose commits are a task's checkpoints. A ref one level up would block all below it."""
    return f"refs/baton/{run_key(run)}/{task}/head"


def run_ref(run: str) -> str:
    """The ref that holds the run's own files: `state.json`, `decisions.json`, pinned roles."""
    return f"refs/baton/{run_key(run)}/run/head"


def integration_ref(run: str) -> str:
    """The ref of the project commits that tasks are merged into."""
    return f"refs/baton/{run_key(run)}/integration/head"


def candidate_ref(run: str, task: str, commit: str) -> str:
    """The ref that keeps a project commit that the gate ran on, until it is integrated; each has its own."""
    return f"refs/baton/{run_key(run)}/{task}/candidate/{commit}"


def landing_ref(run: str, task: str, round_number: int, commit: str) -> str:
    """The ref that says, before it happens, which project commit a round of a task is about to be integrated as.

    Whether it was integrated, the line of integrated commits says. Round 0: taken over from another run.
    """
    return f"refs/baton/{run_key(run)}/{task}/landing/{round_number}/{commit}"


def tasks_by_commit(refs: Iterable[str]) -> dict[str, str]:
    """The tasks whose project commits a run's refs name, by commit."""
    found = (_COMMIT_REF.fullmatch(ref) for ref in refs)
    return {named["commit"]: named["task"] for named in found if named}


def contents_ref(run: str, task: str, commit: str) -> str:
    """The ref that keeps the contents of the files that a task's project commit has as LFS pointers."""
    return f"refs/baton/{run_key(run)}/{task}/lfs/{commit}"


def is_contents_ref(ref: str) -> bool:
    """Whether a ref is one of those that keep the contents of LFS files: written once, and never moved."""
    return bool(_CONTENTS_REF.fullmatch(ref))


RESERVED_TASK_IDS = frozenset({PLAN_TASK, "run", "integration", "gate"})
"""Task ids that would collide with refs of the engine."""


def repo_key(repo: str) -> str:
    """Directory name of a repository's store: readable, and distinct for distinct repositories."""
    digest = hashlib.sha256(repo.encode()).hexdigest()[:10]
    return f"{slug(repo_name(repo), 40)}-{digest}"


def content_hash(text: str) -> str:
    """`sha256:` and the digest of a text; pins a role to the bytes that were loaded."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
