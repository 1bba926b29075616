"""The activities of a task: its gate, and the integration of its candidate."""
