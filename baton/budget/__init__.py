"""Caps on money, turns and time, and the prices of model calls."""
