"""The commands of `baton`, by file."""
