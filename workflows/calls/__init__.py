"""How workflows call activities, children and other workflows, and how calls are cancelled."""
