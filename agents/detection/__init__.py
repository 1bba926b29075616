"""Technology detection: languages, frameworks and test commands of a repository, from its manifests."""
