"""Runs as commands handle them: started, followed, read from a workflow or from a store."""
