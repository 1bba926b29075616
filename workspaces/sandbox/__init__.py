"""The sandbox: runs commands of models and projects with bubblewrap, under bounds on time, output and resources.

1. It imports no other room of `workspaces`.
2. Without isolation no command runs, unless a person waived it by `BATON_SANDBOX=none`.
3. A command sees its workspace and the system's programs, and no variable, credential, key or packages of the worker.
4. A directory outside needs the person's grant, and it is checked before each command; a repository may only request.
5. The network is closed, or open by a proxy that connects to checked addresses of granted names only.
6. A command ends with all its processes: at its end, at a bound, on cancellation and when the worker dies.
"""
