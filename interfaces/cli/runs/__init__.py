"""Runs as commands handle them: started, and read from a workflow or from a store."""
