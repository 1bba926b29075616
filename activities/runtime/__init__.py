"""Shared parts of all activities: the decorator `step`, heartbeats, failures, metrics and the open stores."""
