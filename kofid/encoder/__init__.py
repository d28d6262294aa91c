"""The pretrained Korean encoder: pieces of text, compact weights, and its run without torch."""
