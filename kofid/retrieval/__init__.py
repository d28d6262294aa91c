"""Finding passages: Korean analysis, BM25, dense vectors, fusion, reranking."""
