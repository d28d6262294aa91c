"""Answers and rankings scored, compared and reported."""
