"""The stages of a run: planning, tasks, publication."""
