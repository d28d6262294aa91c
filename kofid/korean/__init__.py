"""Korean: clean text, particles, answers, morphemes, questions."""
