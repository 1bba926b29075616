"""The command `doctor`: checks of the machine and of GitHub."""
