"""The ledger of model calls, and the guard that checks the caps of session, task, run and day before each call."""
