"""Input and output of commands: streams, prompts, exit codes."""
