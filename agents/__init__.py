"""Role definitions, their loader, hand-off reports, tool schemas and request assembly."""
