"""The extractive reader."""
