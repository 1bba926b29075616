"""GitHub's REST API: its client, its errors, the activities that read and write, and the sync of a published branch."""
