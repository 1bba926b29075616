"""Time limits of tests: guards against a hang, which assert nothing about speed."""

from datetime import timedelta

HANGS = timedelta(minutes=5)
"""After which a test that waits for an event gives up: it hangs, on the busiest machine."""
