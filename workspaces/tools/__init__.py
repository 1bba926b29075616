"""The tools of an agent, run on its workspace: Bash, files, search.

1. It imports checkpoints, project, sandbox and git, never delivery or maintenance; the models of the inputs are in
   `baton.tool_inputs`, from which the schema that the model gets is made, too.
2. Each call ends with an outcome: a fault of the call is a sentence that the model can correct it by, never an error.
3. A path is resolved with its links inside the workspace, and only plain files are opened.
4. A change outside the role's scope is refused before it happens; changes by commands are put back after the turn.
5. An edit keeps a file's encoding, byte order mark, line ends and permissions.
6. Every search and command has bounds on time, memory and output.
"""
