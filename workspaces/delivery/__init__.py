"""From checkpoints to a branch of the target repository: merge, filters, LFS, push."""
