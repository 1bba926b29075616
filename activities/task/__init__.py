"""Activities of a task: the gate and the integration of an approved candidate."""
