"""The stand-in's HTTP server, and the faults that it injects into connections."""
