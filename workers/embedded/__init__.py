"""The embedded Temporal server, its supervisor, and the files through which commands share it."""
