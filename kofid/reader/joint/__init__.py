"""The joint reader: one pass of the encoder over question and passage gives relevance, answer and evidence."""
