"""Thin adapters that Temporal calls, one outside system per file. Exceptions become retry postures here."""
