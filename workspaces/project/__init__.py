"""A project as its repository configures it: `baton.toml`, the scopes of the roles, and the gate.

1. It imports git and sandbox, never the store or checkpoints.
2. `baton.toml` comes from a repository: it is read from the base branch, strictly, and grants no right by itself.
3. A scope decides on clean relative paths only; a path that some file system reads differently is outside every scope.
4. Paths that instruct agents or run with other credentials (`PROTECTED`) belong to no role, in any spelling.
5. The exit code of the gate's command decides, on an exact commit in a clean checkout; reports of agents do not.
6. The complete log of a gate stays on the disk, and its digest is part of the evidence.
"""
