"""The ways in: command line and webhooks."""
