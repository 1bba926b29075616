"""Declarations of all commands: names, options and help, one module for each panel of `baton --help`.

A declaration is a function with a signature and a docstring, and no body. These modules import nothing heavy, so that
help and shell completion answer at once; the module `interfaces.cli.commands.<command>` does the work.
"""
