"""The activities of a run as a whole: prepare it, pin its roles, save its state, fork it, publish its branch."""
