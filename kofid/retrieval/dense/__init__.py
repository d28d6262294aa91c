"""Search by vectors: encoders, shards, faiss and torch indexes."""
