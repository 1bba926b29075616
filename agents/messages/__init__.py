"""Requests to the Messages API: prefix, transcript, first messages, quoted text."""
