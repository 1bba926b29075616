"""Escalation: errors that become decisions, and the answers to them."""
