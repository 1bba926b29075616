"""A run that works for GitHub: its inbox, its issue comment, its pull request, its branch."""
