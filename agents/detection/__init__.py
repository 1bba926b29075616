"""Detection of the technology of a repository, from its paths and package manifests."""
