"""The command `doctor`: checks of the machine, of GitHub and of the stores."""
