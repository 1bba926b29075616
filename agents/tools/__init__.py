"""The schemas of the tools that an agent is offered."""
