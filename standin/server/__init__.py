"""The stand-in's HTTP server, its request log, and the faults that it injects into connections."""
