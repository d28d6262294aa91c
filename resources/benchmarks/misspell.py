"""Questions as people mistype them: ``python resources/benchmarks/misspell.py QUESTIONS > MISSPELLED`` (JSONL, seeded).

Each question gets one slip: a jamo that sounds alike or lies beside the right one on the keyboard, two syllables swapped,
a syllable doubled, or a space left out.
"""

from __future__ import annotations

import json
import random
import sys

from kofid.retrieval.correct import _BESIDE, _join, _split, _substitutions


def misspelled(text: str, chance: random.Random) -> str:
    """Return ``text`` with one slip."""
    places = [i for i, character in enumerate(text) if "가" <= character <= "힣"]
    kind = chance.choice(("jamo", "jamo", "swapped", "doubled", "space"))
    if kind == "space" and " " in text:
        at = chance.choice([i for i, character in enumerate(text) if character == " "])
        return text[:at] + text[at + 1 :]
    pairs = [i for i in places if i + 1 in places and text[i] != text[i + 1]]
    if kind == "swapped" and pairs:
        at = chance.choice(pairs)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    at = chance.choice(places)
    if kind == "doubled":
        return text[:at] + text[at] + text[at:]
    syllable = list(_split(text[at]))
    part = chance.randrange(3 if syllable[2] else 2)
    near = [other for other, cost in _substitutions()[part][syllable[part]] if cost <= _BESIDE]
    if near:
        syllable[part] = chance.choice(near)
    return text[:at] + _join(*syllable) + text[at + 1 :]


def main() -> None:
    """Misspell a file of questions."""
    chance = random.Random(1)
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            question = json.loads(line)
            question["question"] = misspelled(question["question"], chance)
            print(json.dumps(question, ensure_ascii=False))


if __name__ == "__main__":
    main()
