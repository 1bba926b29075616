"""The end of a run: the branch in the target repository, written once whatever happens in between."""

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.posture import with_posture
from activities.stores import Stores
from baton import naming
from baton.publishing import CleanUpInput, Published, PublishInput
from workspaces.publish import publish
from workspaces.workspace import discard_run


class PublishingActivities:
    """The activities `publish_run` and `clean_up`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="publish_run")
    @with_posture
    @heartbeating
    async def publish_run(self, publishing: PublishInput) -> Published:
        """Push the commit as the run's branch; a branch that is already there at this commit is success."""
        store = await self._stores.get(publishing.repo)
        await store.catch_up(publishing.run)
        store.require(publishing.run, publishing.commit)
        branch = publishing.branch or naming.branch(publishing.run)
        published = await publish(store, publishing.commit, branch, expected=publishing.expected)
        return Published(branch=published.branch, commit=published.commit)

    @activity.defn(name="clean_up")
    @with_posture
    @heartbeating
    async def clean_up(self, clean: CleanUpInput) -> None:
        """Remove the run's workspaces; its checkpoints stay in the store."""
        await discard_run(await self._stores.get(clean.repo), clean.run)
