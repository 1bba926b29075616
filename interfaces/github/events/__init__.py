"""Readers of GitHub's webhook events, by their kind. Pure."""
