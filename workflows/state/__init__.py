"""The state of a run, its file in the store, and its view in the Web UI."""
