"""Scenarios: their models and files, the player that picks the step of a request, and the answers of steps."""
