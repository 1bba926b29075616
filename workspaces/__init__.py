"""Checkpoints in git, restore, scopes, sandbox, gate and merge. Knows nothing of Temporal."""
