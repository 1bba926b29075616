"""The hidden line at the head of each comment of ours."""

MARKER = "<!-- baton-run:"
"""How every comment of ours begins."""


def marker(run: str) -> str:
    """The line by which a run's comment is found again."""
    return f"{MARKER} {run} -->"
