"""Every setting, read once from the environment at the edge of a process."""
