"""GitHub's REST API: one client, its faults, and the steps that read from it and write to it."""
