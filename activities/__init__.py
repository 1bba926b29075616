"""Activities: the adapters through which a workflow reaches git, the model, the sandbox and GitHub.

1. Every activity is declared by `@step("name")` (`activities.runtime.step`), with its name on the wire.
2. Temporal may run an activity twice, so each one reads what an earlier attempt has committed and does only the rest.
3. Each exception becomes an ApplicationError in one place (`activities.runtime.failures`); workflows read its type.
4. A lane is written only under its lock, and a ref moves only by compare-and-swap, so that a superseded attempt fails.
5. A model call is in the ledger with its worst case before it is made, and its answer is stored before use.
6. A result carries ids, numbers and short excerpts; transcripts, files and secrets never enter a workflow's history.
"""
