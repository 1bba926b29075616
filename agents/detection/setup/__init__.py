"""The set-up of a project, derived from its lock files and manifests. Pure: it executes no code of the project."""
