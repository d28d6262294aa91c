"""Search by terms: analysis, segments, BM25."""
