"""Names of runs, workflows, queues, branches and refs, readable in the Web UI and built from allow-lists only."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

_SLUG = re.compile(r"[^a-z0-9]+")
_SUFFIX_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_VALID_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_SCHEDULED = re.compile(r"(?P<run>.+)-\d{4}-\d\d-\d\dT\d\d(?P<colon>[:+])\d\d(?P=colon)\d\d(?:\.\d{1,9})?Z")
"""A workflow id with the time that a Temporal schedule appends: https://docs.temporal.io/schedule#spec; `+` in refs."""
_COMMIT_REF = re.compile(r"refs/baton/[^/]+/(?P<task>[^/]+)/(?:candidate|landing/\d+)/(?P<commit>[0-9a-f]{40})")
_CONTENTS_REF = re.compile(r"refs/baton/[^/]+/[^/]+/lfs/[0-9a-f]{40}")
_VALID_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

TASK_QUEUE = "baton"
"""Task queue of workflows, and of activities that need no workspace."""

GITHUB_QUEUE = "baton-github"
"""Task queue of writes to GitHub's API: a worker makes one at a time, and the server limits the dispatch rate."""

GITHUB_READS = "baton-github-reads"
"""Task queue of reads from GitHub's API. Only workers with a credential for GitHub serve this and `GITHUB_QUEUE`."""

PLAN_TASK = "plan"
"""The task id under which the orchestrator works."""


def make_slug(text: str, limit: int = 40) -> str:
    """Return a text as lower-case letters, digits and dashes, cut at the end of a word if possible; never empty."""
    words = _SLUG.sub("-", text.lower()).strip("-")
    if len(words) > limit:
        cut = words[:limit]
        words = cut.rsplit("-", 1)[0] if "-" in cut[limit // 2 :] else cut
    return words.strip("-") or "run"


def repo_name(repo: str) -> str:
    """Return the last part of a path or URL, without `.git`."""
    path = urlsplit(repo).path if "://" in repo else repo.rpartition(":")[2] if _is_scp(repo) else repo
    return path.rstrip("/").rpartition("/")[2].removesuffix(".git") or "repo"


def _is_scp(repo: str) -> bool:
    return bool(re.match(r"[\w.-]+@[\w.-]+:", repo))


def new_run_id(repo: str, task: str, *, discreet: bool = False) -> str:
    """Return `<repo>-<slug of the task>-<4 characters>`, or `<repo>-<8 characters>` if `discreet`.

    Temporal stores workflow ids in plain text, even with encryption; a discreet id reveals none of the task's text.
    """
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(8 if discreet else 4))
    name = make_slug(repo_name(repo), 24)
    return f"{name}-{suffix}" if discreet else f"{name}-{make_slug(task, 40)}-{suffix}"


def github_run_id(owner: str, name: str, number: int, attempt: int = 1) -> str:
    """Return `gh-<owner>-<name>-<number>`, with `.2` appended for the second run of an issue.

    A dot sets the attempt apart: with `-2` the id could equal that of another repository's issue.
    """
    tail = f"-{number}" if attempt == 1 else f"-{number}.{attempt}"
    run = f"gh-{owner}-{name}{tail}"
    if is_run_id(run):
        return run
    # The name is too long, or has two dots in a row. The digest keeps the shortened one apart from other repositories.
    digest = hashlib.sha256(f"{owner}/{name}".lower().encode()).hexdigest()[:10]
    return f"gh-{make_slug(owner, 40)}-{make_slug(name, 40)}-{digest}{tail}"


def github_branch(number: int, title: str, attempt: int = 1) -> str:
    """Return the branch of a run for an issue: `baton/issue-<number>-<slug of the title>`, then `...-2`."""
    return f"baton/issue-{number}-{make_slug(title, 50)}" + ("" if attempt == 1 else f"-{attempt}")


def is_run_id(text: str) -> bool:
    """Whether `text` is a valid run id: safe in a ref, a path and a branch name."""
    return bool(_VALID_RUN.fullmatch(text)) and ".." not in text and not text.endswith((".lock", "."))


def is_workflow_id(text: str) -> bool:
    """Whether `text` is a valid workflow id of a run: a run id, alone or with the time that a schedule appends."""
    timed = _SCHEDULED.fullmatch(text)
    return is_run_id(text) or bool(timed and timed["colon"] == ":" and is_run_id(timed["run"]))


def run_key(run: str) -> str:
    """Return the name of a run in refs, directories, branches and headers: its workflow id, with `+` for colons.

    No id has a `+`, so that two runs never share a key. Idempotent: the key of a key is that key.
    """
    return run.replace(":", "+") if is_workflow_id(run) else run


def is_run_key(text: str) -> bool:
    """Whether `text` is the key of a run, as `run_key` returns it."""
    return is_run_id(text) or ("+" in text and is_workflow_id(text.replace("+", ":")))


def workflow_id_of(key: str) -> str:
    """Return the workflow id of a run by its key; an id is returned as it is."""
    return key.replace("+", ":") if is_run_key(key) else key


def is_task_id(text: str) -> bool:
    """Whether `text` is a valid task id: safe in a ref, a path and a workflow id."""
    return bool(_VALID_TASK.fullmatch(text))


def session_name(round_number: int, role: str) -> str:
    """Return `<round>-<role>`, the last part of a session's workflow id."""
    return f"{round_number}-{role}"


def task_workflow_id(run: str, task: str) -> str:
    """Return the workflow id of a task."""
    return f"{run_key(run)}/{task}"


def session_workflow_id(run: str, task: str, round_number: int, role: str) -> str:
    """Return the workflow id of a session."""
    return f"{run_key(run)}/{task}/{session_name(round_number, role)}"


def place_of(workflow_id: str) -> dict[str, str]:
    """Return the run, task, round and role that a workflow id of Baton names; absent parts have no entry."""
    run, task, session = (*workflow_id.split("/"), "", "")[:3]
    round_number, _, role = session.partition("-")
    named = {"run": run, "task": task, "round": round_number, "role": role}
    return {name: value for name, value in named.items() if value}


def branch_name(run: str) -> str:
    """Return the branch that a run publishes."""
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
    """Return the task queue on which a host, even a busy one, reports that it is alive; `queue` is its work queue."""
    return f"{queue}-presence"


def task_ref(run: str, task: str) -> str:
    """Return the ref of a task's checkpoints; `/head` at its end leaves the level free for further refs of the task."""
    return f"refs/baton/{run_key(run)}/{task}/head"


def run_ref(run: str) -> str:
    """Return the ref of the run's own files: `state.json`, `decisions.json`, pinned roles."""
    return f"refs/baton/{run_key(run)}/run/head"


def integration_ref(run: str) -> str:
    """Return the ref of the project commits that tasks are merged into."""
    return f"refs/baton/{run_key(run)}/integration/head"


def candidate_ref(run: str, task: str, commit: str) -> str:
    """Return the ref that keeps a project commit from the gate's run on it until its integration, one per commit."""
    return f"refs/baton/{run_key(run)}/{task}/candidate/{commit}"


def landing_ref(run: str, task: str, round_number: int, commit: str) -> str:
    """Return the ref that announces, before the integration, the project commit of a task's round.

    Whether it was integrated follows from the history of `integration_ref`. Round 0 is taken over from another run.
    """
    return f"refs/baton/{run_key(run)}/{task}/landing/{round_number}/{commit}"


def tasks_by_commit(refs: Iterable[str]) -> dict[str, str]:
    """Return the tasks by the project commits that a run's refs name."""
    found = (_COMMIT_REF.fullmatch(ref) for ref in refs)
    return {named["commit"]: named["task"] for named in found if named}


def contents_ref(run: str, task: str, commit: str) -> str:
    """Return the ref that keeps the contents of the Git LFS pointers in a task's project commit."""
    return f"refs/baton/{run_key(run)}/{task}/lfs/{commit}"


def is_contents_ref(ref: str) -> bool:
    """Whether a ref keeps contents of Git LFS pointers: it is written once, and never moved."""
    return bool(_CONTENTS_REF.fullmatch(ref))


RESERVED_TASK_IDS = frozenset({PLAN_TASK, "run", "integration", "gate"})
"""Task ids that a plan may not use, because refs of the engine have these names."""


def repo_key(repo: str) -> str:
    """Return the directory name of a repository's store: readable, and distinct for distinct repositories."""
    digest = hashlib.sha256(repo.encode()).hexdigest()[:10]
    return f"{make_slug(repo_name(repo), 40)}-{digest}"


def content_hash(text: str) -> str:
    """Return `sha256:` and the digest of a text; it pins a role to the bytes that were loaded."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
