"""The set-up of a project, derived from its lock files and manifests; pure: nothing is executed here."""
