"""The ledger of model calls, and the guard that checks caps before each call."""
