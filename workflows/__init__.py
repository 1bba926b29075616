"""The deterministic part: pipeline, task and agent session."""
