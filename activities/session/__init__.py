"""The journal of a session in git, and the Messages API."""
