"""Runs as people see them: a live tree, progress lines, a summary, a transcript."""
