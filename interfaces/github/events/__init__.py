"""The meaning of GitHub's webhook events, by their kind. Pure."""
