"""How well a reader's scores tell gold passages from others: AUC of each kind of score, and questions scored a second.

    python resources/benchmarks/scores.py INDEX QUESTIONS.jsonl --reader t5 -k 10 --limit 200

AUC of a question: the share of its pairs of a gold and another passage in which the gold one has the higher score (Fawcett
2006); the mean over questions that have such pairs. ``retrieval`` is the score that the passages were found by.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from kofid.formats import read_questions
from kofid.reader.fid.config import ScoreMethod
from kofid.reader.fid.reader import FiDReader
from kofid.reader.open import open_reader
from kofid.retrieval.index import Index
from kofid.training.data import is_positive
from kofid.training.teacher import score_examples
from kofid.types import Example


def auc(example: Example) -> float | None:
    """Return the question's AUC by its hits' scores; None where all or none are gold."""
    gold = np.array([is_positive(example.question, hit.passage) for hit in example.hits], dtype=bool)
    scores = np.array([hit.score for hit in example.hits])
    if gold.all() or not gold.any():
        return None
    difference = scores[gold][:, None] - scores[~gold][None]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def main() -> None:
    """Print one JSON object a kind of score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("questions")
    parser.add_argument("--reader", default="t5")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--limit", type=int, default=200)
    arguments = parser.parse_args()
    index = Index.open(arguments.index)
    questions = [q for q in read_questions(arguments.questions) if q.answers][: arguments.limit]
    examples = [Example(q, tuple(index.search(q.text, arguments.k))) for q in questions]
    reader = open_reader(arguments.reader, n_context=arguments.k)
    assert isinstance(reader, FiDReader)
    for how in ("retrieval", *ScoreMethod):
        start = time.perf_counter()
        scored = examples if how == "retrieval" else list(score_examples(reader, examples, method=ScoreMethod(how)))
        seconds = time.perf_counter() - start
        found = [value for value in map(auc, scored) if value is not None]
        row = {"score": how, "auc": round(float(np.mean(found)), 4), "n": len(found), "k": arguments.k}
        if how != "retrieval":
            row["questions_per_second"] = round(len(examples) / seconds, 1)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
