"""Training examples of the bundled FiDT5: two passages a question, one of them gold, each cut to some 560 characters.

    python resources/recipes/reader_examples.py OUT EXAMPLES.jsonl ... --keep kept-*.jsonl --synthetic synthetic.jsonl

EXAMPLES are FiD JSON lines (training-data.sh); only questions of the files under ``--keep`` (hold_out.py) are taken. Writes
OUT/train.jsonl, with half as many synthetic questions as others mixed in, and OUT/dev.jsonl: 220 questions with their first
three passages as found, of which no paraphrase is trained on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kofid.formats.passage_split import article_id
from kofid.korean.answer_match import has_answer
from kofid.korean.text import sentence_spans

CHARACTERS = 560
DEV = 220
Entry = dict[str, Any]


def crop(text: str, answers: Sequence[str]) -> str:
    """Return sentences around the first answer, or around any, that fill the characters; a short text as it is."""
    if len(text) <= CHARACTERS:
        return text
    spans = sentence_spans(text)
    at = next((text.find(a) for a in answers if a in text), -1)
    first = next((i for i, (a, b) in enumerate(spans) if a <= at < b), random.randrange(len(spans)))
    last = first
    while True:
        sides = [side for side, end in ((-1, first), (1, last)) if 0 <= end + side < len(spans)]
        sides = [s for s in sides if spans[max(last, last + s)][1] - spans[min(first, first + s)][0] <= CHARACTERS]
        if not sides:
            return text[spans[first][0] : spans[last][1]]
        side = random.choice(sides)
        first, last = (first - 1, last) if side < 0 else (first, last + 1)


def example(entry: Entry) -> Entry | None:
    """Return the entry with a gold passage and one that says no answer; None where either is missing."""
    gold_ids = set(entry["positive_ids"])
    gold: list[Entry] = []
    others: list[Entry] = []
    for context in entry["ctxs"]:
        says = has_answer(context["text"], entry["answers"])
        is_gold = bool({context["id"], article_id(context["id"])} & gold_ids)
        if is_gold == says:
            (gold if says else others).append(context)
    if not gold or not others:
        return None
    right, wrong = gold[0], random.choice(others[:4])
    contexts = [{**right, "text": crop(right["text"], entry["answers"])}, {**wrong, "text": crop(wrong["text"], ())}]
    random.shuffle(contexts)
    return {**entry, "positive_ids": [right["id"]], "ctxs": contexts}


def lines(paths: Sequence[Path]) -> list[Entry]:
    """Return the objects of JSON lines files."""
    return [json.loads(line) for path in paths for line in path.open(encoding="utf-8")]


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("examples", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path, nargs="+", required=True)
    parser.add_argument("--synthetic", type=Path, required=True)
    arguments = parser.parse_args()
    random.seed(3)
    kept = {entry["question"] for entry in lines(arguments.keep)}
    given = [e for e in lines(arguments.examples) if e["question"] in kept and e["answers"]]
    dev = random.sample([e for e in given if example(e)], DEV)
    held = {(*e["answers"], "|", *e["positive_ids"]) for e in dev}
    train = [e for e in given if (*e["answers"], "|", *e["positive_ids"]) not in held]
    made = [found for e in train if (found := example(e))]
    synthetic = lines([arguments.synthetic])
    mixed = made + random.sample(synthetic, min(len(synthetic), len(made) // 2))
    random.shuffle(mixed)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, entries in (("train", mixed), ("dev", [{**e, "ctxs": e["ctxs"][:3]} for e in dev])):
        text = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries)
        (arguments.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
