"""The parts of GitHub's payloads that are read."""
