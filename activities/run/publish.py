"""The publication of a run: its branch in the target repository, pushed exactly once."""

from collections.abc import Iterable

from activities.runtime.step import step
from activities.runtime.stores import Stores, read_run_base
from baton import identifiers
from baton.errors import ContentsMissing, FilteredPaths
from baton.records.left_out import show_path
from baton.steps.publish import CleanUpInput, LeaveOutInput, Published, PublishInput, ReducedCommit
from baton.text.truncation import join_names
from workspaces.checkpoints.workspace import discard_run
from workspaces.delivery.filtered_files import FilterReport, examine_commits, leave_out
from workspaces.delivery.lfs_store import LfsPointer, find_contents
from workspaces.delivery.lfs_transfer import upload_contents
from workspaces.delivery.push_branch import push_branch
from workspaces.store.store import Store

_MAX_SHOWN = 10
_MAX_SHOWN_LENGTH = 60


class PublishActivities:
    """The activities `publish_run`, `leave_out` and `clean_up`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("publish_run")
    async def publish_run(self, publishing: PublishInput) -> Published:
        """Push the commit as the run's branch; a branch that is at this commit already is success.

        Raises FilteredPaths or ContentsMissing before the push if a person has to decide.
        """
        store = await self._stores.open_store(publishing.repo)
        await store.catch_up(publishing.run)
        store.require_commits(publishing.run, publishing.commit)
        notes = await self._check_filtered_files(store, publishing)
        branch = publishing.branch or identifiers.branch_name(publishing.run)
        published = await push_branch(store, publishing.commit, branch, expected=publishing.expected)
        return Published(branch=published.branch, commit=published.commit, notes=notes)

    @step("leave_out")
    async def leave_out(self, leaving: LeaveOutInput) -> ReducedCommit:
        """Rewrite the integrated line without the changes to files behind filters. Idempotent."""
        store = await self._stores.open_store(leaving.repo)
        await store.catch_up(leaving.run)
        store.require_commits(leaving.run, leaving.commit)
        base = await read_run_base(store, leaving.run)
        found = await examine_commits(store, leaving.commit, base=base, published=leaving.expected)
        paths = sorted(found.pointers if leaving.pointers else found.plain)
        made = await leave_out(store, leaving.commit, paths, base=base, published=leaving.expected)
        commit = made[leaving.commit]
        whose = identifiers.tasks_by_commit(store.list_refs(leaving.run))
        renamed = {old: new for old, new in made.items() if new != old and old in whose}
        for old, new in renamed.items():
            # A fork of this run finds finished tasks by the commits of the rewritten line.
            await store.move_ref(identifiers.landing_ref(leaving.run, whose[old], 0, new), new, expected=None)
        await store.move_ref(identifiers.integration_ref(leaving.run), commit, expected=leaving.commit)
        return ReducedCommit(
            commit=commit,
            paths=[_short_path(path) for path in paths[:_MAX_SHOWN]],
            count=len(paths),
            empty=commit in (base, leaving.expected),
            renamed=renamed,
        )

    @step("clean_up")
    async def clean_up(self, clean: CleanUpInput) -> None:
        """Remove the run's workspaces; its checkpoints stay in the store."""
        await discard_run(await self._stores.open_store(clean.repo), clean.run)

    async def _check_filtered_files(self, store: Store, publishing: PublishInput) -> list[str]:
        """Check files behind filters, upload the contents of LFS files, and return notes.

        Raises FilteredPaths if a person has not allowed their publication, ContentsMissing if contents are missing.
        """
        base = await read_run_base(store, publishing.run)
        found = await examine_commits(store, publishing.commit, base=base, published=publishing.expected)
        if found.plain and publishing.as_it_is != publishing.commit:
            raise FilteredPaths(_plain_question(found))
        notes = []
        if found.plain:
            several = f"{len(found.plain):,} file{'s are' if len(found.plain) > 1 else ' is'}"
            notes.append(
                f"{several} published as plain text, without a git filter, as decided: {_show_paths(found.plain)}."
            )
        if not found.pointers:
            return notes
        pointers = sorted({pointer for each in found.pointers.values() for pointer in each})
        several = f"{len(found.pointers):,} file{'s are' if len(found.pointers) > 1 else ' is'}"
        contents = await find_contents(store, publishing.run)
        ours = [pointer for pointer in pointers if pointer in contents]
        if publishing.without_contents == publishing.commit:
            return [
                *notes,
                f"{several} published as Git LFS pointers whose contents are not uploaded:"
                f" {_show_paths(found.pointers)}."
                " The run's store keeps the contents.",
            ]
        trees = [store.source.tree_of(one) for one in (publishing.commit, base)]
        try:
            await upload_contents(store, pointers, contents, trees=trees)
        except ContentsMissing as missing:
            raise ContentsMissing(_pointer_question(found, str(missing))) from missing
        return [
            *notes,
            f"{several} published as Git LFS pointers ({_show_paths(found.pointers)}); {_upload_note(ours)}.",
        ]


def _short_path(text: str) -> str:
    text = show_path(text).replace("`", "'")
    return (
        text
        if len(text) <= _MAX_SHOWN_LENGTH
        else f"{text[: _MAX_SHOWN_LENGTH // 2]}…{text[-_MAX_SHOWN_LENGTH // 2 :]}"
    )


def _show_paths(paths: Iterable[str]) -> str:
    return join_names([f"`{_short_path(path)}`" for path in paths], _MAX_SHOWN)


def _upload_note(pointers: list[LfsPointer]) -> str:
    size = sum(pointer.size for pointer in pointers)
    return (
        f"their contents are uploaded ({len(pointers):,}, {size:,} bytes)" if pointers else "their contents are there"
    )


def _plain_question(found: FilterReport) -> str:
    files = [
        f"`{_short_path(path)}` ({_short_path(', '.join(f'filter={name}' for name in names))})"
        for path, names in found.plain.items()
    ]
    return (
        "The branch would show in plain text what a git filter should have changed, for Baton runs none:"
        f" {join_names(files, _MAX_SHOWN)}. Choose `skip` to publish without the changes to these paths, `publish` to"
        " publish them as they are, for everybody who can read the repository, or `retry` to check again."
    )


def _pointer_question(found: FilterReport, why: str) -> str:
    return (
        f"The contents of Git LFS files are not in the repository: {_show_paths(found.pointers)}. {why} Choose"
        " `retry` once"
        " that is fixed, `skip` to publish without the changes to these paths, or `publish` to publish their pointers"
        " although the contents are missing; the run's store keeps them."
    )
