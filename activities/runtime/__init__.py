"""Helpers that every activity shares: heartbeats, failures, metrics, open stores."""
