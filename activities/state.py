"""Writes `state.json` and `decisions.json` into the store, next to the checkpoints."""

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.posture import with_posture
from activities.stores import DECISIONS, STATE, Stores, to_json
from baton import naming
from baton.steps import Saved, SaveInput


class StateActivities:
    """The activity `save_state`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="save_state")
    @with_posture
    @heartbeating
    async def save_state(self, save: SaveInput) -> Saved:
        """Commit both files to the run's ref."""
        store = await self._stores.get(save.repo)
        ref = naming.run_ref(save.run)
        commit = await store.commit_files(
            ref,
            expected=await store.head(ref),
            files={
                STATE: to_json(save.state.model_dump(mode="json")),
                DECISIONS: to_json([decision.model_dump(mode="json") for decision in save.decisions]),
            },
            message=f"{save.state.status.value}: {len(save.decisions)} decisions, ${save.state.cost_usd:.4f}",
            at=save.at,
        )
        return Saved(commit=commit)
