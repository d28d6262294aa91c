"""Learn how hanja are read, from text that writes both: 이순신(李舜臣) reads 李 이, 舜 순, 臣 신.

    python resources/recipes/hanja.py ARTICLES... > resources/lexicons/hanja.tsv

A line of the result: a character, its usual reading at the head of a word, and its usual reading elsewhere.
"""

import re
import sys
from collections import Counter, defaultdict

from kofid.formats import read_corpus

GLOSS = re.compile(r"([가-힣]{2,8})\s?\(\s?([\u3400-\u9fff\uf900-\ufaff]{2,8})(?=[),;: ])")
SEEN = 3


def main(articles: list[str]) -> None:
    """Print the table."""
    readings: dict[bool, defaultdict[str, Counter[str]]] = {True: defaultdict(Counter), False: defaultdict(Counter)}
    for passage in read_corpus(articles, split=False):
        for hangul, hanja in GLOSS.findall(passage.text):
            if len(hangul) >= len(hanja):
                for i, (sound, character) in enumerate(zip(hangul[-len(hanja) :], hanja, strict=True)):
                    readings[i == 0][character][sound] += 1
    for character in sorted(set(readings[True]) | set(readings[False])):
        head, inside = (readings[where][character] for where in (True, False))
        usual_head, usual_inside = (counts.most_common(1) for counts in (head or inside, inside or head))
        if usual_head[0][1] >= SEEN or usual_inside[0][1] >= SEEN:
            print(character, usual_head[0][0], usual_inside[0][0], sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
