"""Make cloze questions from articles: a sentence with one name, date or number asked for, and passages to find it in.

    python resources/recipes/cloze.py ARTICLES.jsonl[.xz] -n 60000 -o cloze.jsonl

Reads whole-article JSONL (``id``, ``title``, ``text``); writes FiD JSON lines for ``kofid train-reader``. The first
passage of ``ctxs`` order is not the gold one: passages are shuffled, the others come from the same and the next
articles. Salient spans as in Guu et al. 2020 (REALM), section 3.4, but by Kiwi's tags.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import deque
from collections.abc import Iterator
from itertools import islice

from kofid import morphology
from kofid.formats import read_corpus
from kofid.formats.split import article_id
from kofid.text import sentence_spans
from kofid.types import Passage

UNITS = ("NNB", "NNG")


def spans(sentence: str, morphemes: list[morphology.Morpheme]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, question word) of the names, dates and numbers of a sentence, whole words without particles."""
    i = 0
    while i < len(morphemes):
        j = i
        if morphemes[i].tag == "SN":
            while j < len(morphemes) and (morphemes[j].tag == "SN" or morphemes[j].tag in UNITS) and j - i < 6:
                j += 1
            text = sentence[morphemes[i].start : morphemes[j - 1].end]
            word = "언제" if text.endswith(("년", "월", "일", "시")) else "몇"
        elif morphemes[i].tag in ("NNP", "SL"):
            while j < len(morphemes) and morphemes[j].tag in ("NNP", "SL", "NNG") and j - i < 5:
                j += 1
            after = morphemes[j].form if j < len(morphemes) else ""
            word = "어디" if after == "에서" else random.choice(("누구", "무엇", "무엇", "어디"))
        else:
            i += 1
            continue
        start, end = morphemes[i].start, morphemes[j - 1].end
        if end - start >= 2 and (start == 0 or sentence[start - 1] in " (‘“\"'《〈"):
            yield start, end, word
        i = j


def cloze(passage: Passage, sentence: str, morphemes: list[morphology.Morpheme]) -> tuple[str, str] | None:
    """Return (question, answer), or None when the sentence offers nothing to ask for."""
    found = [s for s in spans(sentence, morphemes) if sentence[s[0] : s[1]] not in passage.title]
    if not found:
        return None
    start, end, word = random.choice(found)
    answer = sentence[start:end]
    question = (sentence[:start] + word + sentence[end:]).rstrip(". ")
    if random.random() < 0.5:  # people ask shorter than encyclopaedias tell: keep the words around the gap
        left, right = question[:start].split(), question[start + len(word) :].split()
        question = " ".join(left[-random.randint(2, 8) :]) + " " + word + " ".join(right[: random.randint(1, 8)])
    if passage.title not in question and random.random() < 0.7:
        question = f"{passage.title} {question}"
    return " ".join(question.split()) + "?", answer


def examples(sources: list[str], limit: int, n_context: int, words: int) -> Iterator[dict[str, object]]:
    """Yield FiD entries, one a passage."""
    window: deque[Passage] = deque(maxlen=40)
    passages = (p for p in read_corpus(sources, passage_words=words) if 2 * words <= len(p.text) <= 8 * words)
    count = 0
    while batch := list(islice(passages, 512)):
        chosen = []
        for passage in batch:
            pieces = [passage.text[a:b] for a, b in sentence_spans(passage.text) if 20 <= b - a <= 160]
            chosen.append(random.choice(pieces) if pieces else "")
        for passage, sentence, morphemes in zip(batch, chosen, morphology.analyze_many(chosen), strict=True):
            window.append(passage)
            pair = cloze(passage, sentence, morphemes)
            if pair is None or len(window) < 20:
                continue
            question, answer = pair
            others = [p for p in window if p is not passage and answer not in p.text]
            near = [p for p in others if article_id(p.id) == article_id(passage.id)]
            picked = [passage, *near[-1:], *random.sample(others, min(n_context, len(others)))][:n_context]
            random.shuffle(picked)
            contexts = [{"id": p.id, "title": p.title, "text": p.text} for p in picked]
            yield {"question": question, "answers": [answer], "positive_ids": [passage.id], "ctxs": contexts}
            count += 1
            if count == limit:
                return


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("articles", nargs="+")
    parser.add_argument("-n", "--limit", type=int, default=60_000)
    parser.add_argument("--n-context", type=int, default=3)
    parser.add_argument("--passage-words", type=int, default=40)
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    random.seed(1)
    with open(arguments.output, "w", encoding="utf-8") as out:
        for entry in examples(arguments.articles, arguments.limit, arguments.n_context, arguments.passage_words):
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
