"""The project's own configuration, its scopes, and the gate that runs its tests."""
