"""The marker of our comments: the hidden line at their head."""

MARKER = "<!-- baton-run:"
"""The beginning of every comment of ours."""


def marker_line(run: str) -> str:
    """Return the line by which a run's comment is found again."""
    return f"{MARKER} {run} -->"
