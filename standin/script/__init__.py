"""Scenarios: the models of a script, their files, and the player that picks the step of a request."""
