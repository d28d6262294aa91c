"""Check the demo corpus: every answer stands in its evidence. Run: python resources/demo/check.py"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
HERE = Path(__file__).parent


def problems(passages: list[Entry], questions: list[Entry]) -> list[str]:
    """Return what is wrong with the corpus, one line each."""
    lines = []
    for name, values in (
        ("passage id", [p["id"] for p in passages]),
        ("title", [p["title"] for p in passages]),
        ("question id", [q["id"] for q in questions]),
        ("question", [q["question"] for q in questions]),
    ):
        lines += [f"{name} {value!r} stands {n} times" for value, n in Counter(values).items() if n > 1]
    text = {p["id"]: p["text"] for p in passages}
    for question in questions:
        for evidence in question["positive_ids"]:
            if evidence not in text:
                lines.append(f"{question['id']}: no passage {evidence}")
                continue
            lines += [
                f"{question['id']}: {answer!r} is not in {evidence}"
                for answer in question["answers"]
                if answer not in text[evidence]
            ]
        if not question["answers"] or not question["positive_ids"]:
            lines.append(f"{question['id']}: no answer or no evidence")
        lines += [f"{question['id']}: asks its own answer" for a in question["answers"] if a in question["question"]]
        if question["type"] not in ("who", "when", "where", "how-many", "what"):
            lines.append(f"{question['id']}: type {question['type']!r}")
    if len(passages) < 300 or len(questions) < 600:
        lines.append(f"{len(passages)} passages and {len(questions)} questions; at least 300 and 600 are promised")
    return lines


def load(name: str) -> list[Entry]:
    """Return the entries of a JSONL file beside this script."""
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    passages, questions = load("passages.jsonl"), load("questions.jsonl")
    lines = problems(passages, questions)
    print(
        "\n".join(lines)
        or f"{len(passages)} passages, {len(questions)} questions, "
        + ", ".join(f"{k} {n}" for k, n in Counter(q["type"] for q in questions).most_common())
    )
    sys.exit(bool(lines))
