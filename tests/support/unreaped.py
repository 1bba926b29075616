"""Processes that this one started and never waited for: each would warn when its object is collected."""

import gc
import subprocess
from datetime import timedelta


def wait_for_unreaped(within: timedelta) -> list[str]:
    """Wait for every child whose `Popen` is alive and was not waited for; return those that still run, by arguments."""
    left = []
    for found in gc.get_objects():
        if type(found) is subprocess.Popen and found.returncode is None:  # isinstance fails on dead proxies
            try:
                found.wait(within.total_seconds())
            except subprocess.TimeoutExpired:
                left.append(str(found.args))
    return left
