"""Environments: installed dependencies of a project, made once in the sandbox and shared as read-only layers."""
