"""The way from checkpoints to the person's repository: project commits, merges, filters, the push.

1. It imports checkpoints, store, project and git, and no room imports it but activities.
2. The same arguments give the same commit ids, so that a retry publishes the same objects.
3. A branch moves by compare-and-swap, no other ref is written, and a repeated push is a no-op.
4. No git filter runs; the person's own `git lfs` uploads contents, outside the sandbox and without the project's hooks.
5. Every commit that a push adds is checked: content that a filter would hide is published only if a person agrees.
6. Credentials go to the repository itself only, never to a server that its files name.
"""
