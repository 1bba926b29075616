"""Checkpoints and the workspaces that they are taken of and restored to."""
