"""Permissions of Baton's GitHub App, and the Markdown of the comment, the pull request and the check run of a run."""
