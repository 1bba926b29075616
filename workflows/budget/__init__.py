"""Caps that were reached, and the wall clock of a run."""
