"""Questions as people mistype them: ``python resources/benchmarks/misspell.py QUESTIONS > MISSPELLED`` (JSONL, seeded).

Each question gets one slip: a jamo that sounds alike or lies beside the right one on the keyboard, two syllables swapped,
a syllable doubled, or a space left out.
"""

from __future__ import annotations

import json
import random
import sys

from kofid.korean.jamo import join_syllable, split_syllable
from kofid.retrieval.misspellings import BESIDE, substitutions


def misspelled(text: str, rng: random.Random) -> str:
    """Return ``text`` with one slip."""
    places = [i for i, character in enumerate(text) if "가" <= character <= "힣"]
    kind = rng.choice(("jamo", "jamo", "swapped", "doubled", "space"))
    if kind == "space" and " " in text:
        at = rng.choice([i for i, character in enumerate(text) if character == " "])
        return text[:at] + text[at + 1 :]
    pairs = [i for i in places if i + 1 in places and text[i] != text[i + 1]]
    if kind == "swapped" and pairs:
        at = rng.choice(pairs)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    at = rng.choice(places)
    if kind == "doubled":
        return text[:at] + text[at] + text[at:]
    syllable = list(split_syllable(text[at]))
    part = rng.randrange(3 if syllable[2] else 2)
    alike = [other for other, cost in substitutions()[part][syllable[part]] if cost <= BESIDE]
    if alike:
        syllable[part] = rng.choice(alike)
    return text[:at] + join_syllable(*syllable) + text[at + 1 :]


def main() -> None:
    """Misspell a file of questions."""
    rng = random.Random(1)
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            question = json.loads(line)
            question["question"] = misspelled(question["question"], rng)
            print(json.dumps(question, ensure_ascii=False))


if __name__ == "__main__":
    main()
