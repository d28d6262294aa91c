"""The joint reader without torch beside the same weights in torch: are the answers the same, and which is faster?

    kofid retrieve -i kb questions.jsonl -k 20 -o retrieved.json
    python resources/benchmarks/joint.py retrieved.json [--model resources/models/joint] [-n 500]

Reads the first ``-n`` questions of FiD JSON, each with the windows that the reader would choose. Prints in how many the best span
is the same, in how many the order of passages, how far relevance is apart (a logit), and windows a second of both: torch in
32 bits, windows of like length together, on all processors; ONNX Runtime in 8 bits. The last line is the ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from kofid.formats import read_examples
from kofid.korean.kiwi import analyze
from kofid.reader.joint.confidence import Settings
from kofid.reader.joint.model import JointModel
from kofid.reader.joint.reader import MAX_WINDOWS, JointReader, WindowReading, distinct_answers, reordered
from kofid.reader.joint.spans import best_spans
from kofid.reader.joint.windows import Row, make_row, prepare_question, promising_windows
from kofid.reader.open import open_reader
from kofid.storage.artifacts import open_artifact
from kofid.storage.bundled import resource
from kofid.training.joint import open_joint
from kofid.types import Example

# Rows that torch is given at a time.
BATCH = 8


def torch_scores(model: JointModel, rows: Sequence[Row]) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return logits of starts and ends, (n,) each, and relevance of each row, by torch in 32 bits."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    scores: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
    for at in range(0, len(order), BATCH):
        numbers = order[at : at + BATCH]
        longest = max(len(rows[number].ids) for number in numbers)
        ids, types, attended = (torch.zeros(len(numbers), longest, dtype=torch.long) for _ in range(3))
        for place, number in enumerate(numbers):
            n = len(rows[number].ids)
            ids[place, :n] = torch.from_numpy(rows[number].ids)
            types[place, :n] = torch.from_numpy(rows[number].types)
            attended[place, :n] = 1
        with torch.inference_mode():
            start, end, relevance = model(ids, types, attended)
        for place, number in enumerate(numbers):
            scores[number] = start[place].numpy(), end[place].numpy(), float(relevance[place])
    return [scores[number] for number in range(len(rows))]


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples")
    parser.add_argument("--model", default=str(resource("models/joint")))
    parser.add_argument("-n", type=int, default=500)
    arguments = parser.parse_args()
    folder = open_artifact(Path(arguments.model), "reader").directory
    reader = open_reader(arguments.model)
    assert isinstance(reader, JointReader)
    model, tokenizer = open_joint(str(folder), seed=1)
    model.eval()
    examples: list[Example] = [e for e in islice(read_examples(arguments.examples), arguments.n) if e.hits]
    same_span = same_order = n_windows = 0
    apart: list[float] = []
    seconds = {"torch": 0.0, "onnxruntime": 0.0}
    for example in examples:
        question, passages = example.question.text, [hit.passage for hit in example.hits]
        prepared = reader.prepare(passages)
        prepared_question = prepare_question(tokenizer, question, analyze(question))
        windows = promising_windows(prepared_question, prepared, MAX_WINDOWS)
        rows = [make_row(tokenizer, prepared_question, prepared[number], window) for number, window in windows]
        begun = time.perf_counter()
        scores = torch_scores(model, rows)
        seconds["torch"] += time.perf_counter() - begun
        slow = []
        for (number, (first, end)), row, (start, stop, relevance) in zip(windows, rows, scores, strict=True):
            inside = slice(row.text, row.text + end - first)
            pieces = prepared[number].pieces.cut(first, end)
            slow.append(WindowReading(number, relevance, best_spans(start[inside], stop[inside], pieces, number, 8)))
        begun = time.perf_counter()
        fast = reader.read_windows(question, passages)
        seconds["onnxruntime"] += time.perf_counter() - begun
        n_windows += len(windows)
        best = [distinct_answers(read, example.hits, Settings())[:1] for read in (slow, fast)]
        spans = [(c[0].span.passage, c[0].span.start, c[0].span.end) if c else None for c in best]
        same_span += spans[0] == spans[1]
        orders = [
            [hit.passage.id for hit in reordered(read, example.hits, Settings().weights)] for read in (slow, fast)
        ]
        same_order += orders[0][:5] == orders[1][:5]
        apart += [abs(a.relevance - b.relevance) for a, b in zip(slow, fast, strict=True)]
    n = len(examples)
    print(f"{n} questions, {n_windows} windows")
    print(f"same best span {same_span / n:.1%}, same first five passages {same_order / n:.1%}")
    print(f"relevance apart: mean {np.mean(apart):.3f}, 99th percentile {np.percentile(apart, 99):.3f}")
    for name, taken in seconds.items():
        print(f"{name}: {n_windows / taken:.1f} windows a second")
    print(f"ratio {seconds['torch'] / seconds['onnxruntime']:.2f}")


if __name__ == "__main__":
    main()
