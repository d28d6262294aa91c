"""Training readers and retrievers, and the one from the other."""
