"""Agents as data: role definitions, hand-off reports, tool schemas, first messages and requests. Pure.

1. It imports `baton` and `system` only, runs no process and opens no connection.
2. Text of requests, repositories, logs and models is quoted in a fence that it cannot close, and bounded.
3. A role file grants at most the tools that Baton offers; a restriction that cannot be enforced grants no tool.
4. A report that is invalid is refused with each fault, so that the model corrects it in the same session.
5. The bytes of a session's prefix never change, because signed thinking and prompt caches depend on them.
6. Manifests of a repository are parsed with bounds, never executed, and no content of theirs raises an error.
"""
