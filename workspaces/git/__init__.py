"""Git without a network: processes, objects, trees, refs, packs, and the two bare repositories of a store."""
