"""Role files: their definition, their loader, and the tools that they grant."""
