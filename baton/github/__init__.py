"""GitHub in Baton's terms: the App's permissions, and the texts that a run publishes there."""
