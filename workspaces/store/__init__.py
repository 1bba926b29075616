"""The store of a target repository: fetch, refs, submodules, and its copy on the state remote."""
