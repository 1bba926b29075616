"""Role files: their definition, their loader, the models and tools that they name."""
