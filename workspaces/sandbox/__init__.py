"""The sandbox that commands of agents and gates run in."""
