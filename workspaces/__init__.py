"""Workspaces of agents: git stores, checkpoints, scopes, sandbox, gate and delivery. Knows nothing of Temporal.

1. It imports `baton` and `system`, and neither Temporal nor GitHub's API.
2. A ref moves by compare-and-swap, and a commit exists durably before a ref names it.
3. Paths come from hostile trees and are opened beneath a directory descriptor, without following links.
4. The engine runs git in repositories of its own, without hooks and configuration of the project.
5. Commands of models and projects run in the sandbox only.
6. Credentials reach git by its environment and stay out of stores, sandboxes, logs and errors.
"""
