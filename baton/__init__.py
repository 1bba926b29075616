"""The kernel: the records, errors, names, limits and settings that all packages share.

It may import `system`, and no other package of Baton. It starts no process and opens no connection, which import-linter
checks. Records are read by older and newer versions: a field is added, never renamed or removed. Settings are read
once, by the workers and the command line, and passed on as values. Functions are pure, except in
`settings`, `logs` and `budget.pricing`. Text of models, repositories and GitHub is bounded and escaped here before it
is stored or shown.
"""

__version__ = "0.1.0"
