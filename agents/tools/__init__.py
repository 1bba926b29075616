"""Schemas and input models of the tools that an agent is offered."""
