"""The light span reader."""
