"""The tools of an agent, run on its workspace: Bash, files, search."""
