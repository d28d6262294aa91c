"""Part training questions from those kept to measure on: ``python hold_out.py FOLDER TRAIN.jsonl ... --measure FILE.jsonl ...``.

Every fifth question of the files under ``--measure`` (by a hash of its text) is held out, as are all of those under
``--only-measure``. From all training files goes what asks the same: an equal question, or one with the same answers and gold
passages (a paraphrase). Writes FOLDER/kept-NAME.jsonl and FOLDER/held-NAME.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

Question = dict[str, Any]


def same_text(question: Question) -> str:
    """Return what is equal for equal questions."""
    return "".join(question["question"].split())


def same_gold(question: Question) -> tuple[str, ...] | None:
    """Return what is equal for questions with the same answers and gold passages; None where there are no answers."""
    return (*question["answers"], "|", *question["positive_ids"]) if question["answers"] else None


def name_of(path: Path) -> str:
    """Return a name for a file that its folder tells apart."""
    return f"{path.parent.name}-{path.stem}"


def is_held_out(question: Question) -> bool:
    """Tell whether a question is among the fifth that is held out, by the hash of its text."""
    return hashlib.sha256(same_text(question).encode()).digest()[0] % 5 == 0


def main() -> None:
    """Write the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("train", type=Path, nargs="+")
    parser.add_argument("--measure", type=Path, nargs="*", default=[])
    parser.add_argument("--only-measure", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    read = {
        path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in {*options.train, *options.measure, *options.only_measure}
    }
    held: dict[Path, list[Question]] = {path: read[path] for path in options.only_measure}
    for path in options.measure:
        held[path] = [question for question in read[path] if is_held_out(question)]
    texts = {same_text(q) for questions in held.values() for q in questions}
    golds = {same_gold(q) for questions in held.values() for q in questions} - {None}
    kept = {p: [q for q in read[p] if same_text(q) not in texts and same_gold(q) not in golds] for p in options.train}
    for part, chosen in (("kept", kept), ("held", held)):
        for path, questions in chosen.items():
            lines = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
            (options.folder / f"{part}-{name_of(path)}.jsonl").write_text(lines, encoding="utf-8")
            print(part, name_of(path), len(questions))


if __name__ == "__main__":
    main()
