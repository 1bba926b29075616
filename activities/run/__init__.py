"""Activities at the start and the end of a run: prepare, pin roles, save state, fork, publish."""
