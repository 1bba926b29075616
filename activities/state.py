"""Writes `state.json` and `decisions.json` into the store, next to the checkpoints."""

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.posture import with_posture
from activities.stores import DECISIONS, STATE, Stores, to_json, write_run_files
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
        commit = await write_run_files(
            store,
            save.run,
            {
                STATE: to_json(save.state.model_dump(mode="json")),
                DECISIONS: to_json([decision.model_dump(mode="json") for decision in save.decisions]),
            },
            f"{save.state.status.value}: {len(save.decisions)} decisions, ${save.state.cost_usd:.4f}",
            save.at,
        )
        return Saved(commit=commit)
