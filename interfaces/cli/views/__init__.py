"""Views of runs for people: a live tree, progress lines, a summary, a transcript."""
