"""Verification, repair and garbage collection of stores and workspaces."""
