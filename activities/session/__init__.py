"""The journal of a session in git, its conversation, and the client of the Messages API."""
