"""Make questions from articles: a sentence whose name, date, number or noun is asked for, and passages to find it in.

    python resources/recipes/synthetic.py ARTICLES.jsonl[.xz] -n 60000 -o synthetic.jsonl

Reads whole-article JSONL (``id``, ``title``, ``text``); writes FiD JSON lines for ``kofid train-reader``, passages
shuffled, those that do not answer from the same article or the next ones. Salient spans as in Guu et al. 2020 (REALM),
section 3.4, but by Kiwi's tags; what to ask for a name (누구, 어느 도시) by the kinds that the span reader knows. Half of
the questions stand as sentences with a question word, half end in what is asked for (1592년에 태어난 사람은 누구인가?).
"""

from __future__ import annotations

import argparse
import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from kofid.formats import read_corpus
from kofid.formats.passage_split import article_id
from kofid.korean import kiwi as morphology
from kofid.korean.text import sentence_spans
from kofid.reader.span.name_types import GROUPS, NameTypes
from kofid.storage.bundled import resource
from kofid.types import Passage

UNITS = ("NNB", "NNG", "NR")
PLACES = ("country", "place", "building")
OPENING = " (‘“\"'《〈「『"
ASKS = {"어떤": "무엇", "어느": "어디"}
MODIFIED = ("VV", "VA", "VX", "XSV", "XSA", "VCP", "VV-I", "VA-I", "VV-R", "VA-R")


@dataclass(frozen=True)
class Span:
    """Characters of a sentence that can be asked for, the word that asks, and what the thing is called, if known."""

    start: int
    end: int
    word: str
    noun: str = ""


def spans(sentence: str, morphemes: Sequence[morphology.Morpheme], name_types: NameTypes) -> list[Span]:
    """Return the names, dates, numbers and nouns of a sentence: whole phrases without particles."""
    found = []
    i = 0
    while i < len(morphemes):
        tag, j = morphemes[i].tag, i
        allowed = {"SN": ("SN", *UNITS), "NNP": ("NNP", "SL", "NNG", "SN", "XSN"), "NNG": ("NNG", "XSN")}
        allowed["SL"] = allowed["NNP"]
        while j < len(morphemes) and morphemes[j].tag in allowed.get(tag, ()) and j - i < 6:
            j += 1
        if j == i:
            i += 1
            continue
        start, end = morphemes[i].start, morphemes[j - 1].end
        verb = j < len(morphemes) and morphemes[j].tag in ("XSV", "XSA")  # 활약-하다 is no noun to ask for
        if end - start >= 2 and not verb and (start == 0 or sentence[start - 1] in OPENING):
            if tag == "SN":
                found.append(_number(start, end, morphemes[i:j]))
            else:
                found.append(_name(sentence, start, end, tag, morphemes[j - 1].form, name_types))
        i = j
    return [span for span in found if span.noun or span.word != "무엇" or random.random() < 0.3]


def _number(start: int, end: int, morphemes: Sequence[morphology.Morpheme]) -> Span:
    unit = morphemes[-1].form if morphemes[-1].tag in UNITS else ""
    if unit in ("년", "월", "일", "세기", "시"):
        return Span(start, end, random.choice(("언제", f"몇 {unit}")), "때")
    return Span(start, end, random.choice((f"몇 {unit}".strip(), "얼마")), unit)


def _name(sentence: str, start: int, end: int, tag: str, last: str, name_types: NameTypes) -> Span:
    name = sentence[start:end]
    if tag == "NNG":
        return Span(start, end, "무엇", last if len(last) > 1 and last != name and random.random() < 0.5 else "")
    vector = name_types.name_vectors(sentence, np.array([start]), np.array([end]), [name.replace(" ", "")])
    shares = name_types.group_shares(vector)[0]
    group = list(GROUPS)[int(shares.argmax())]
    if shares.max() < 0.4:
        return Span(start, end, "무엇")
    likely = np.argsort(-(name_types.vectors @ vector[0]))[:3]
    noun = name_types.nouns[int(random.choice(likely.tolist()))]
    if group == "person":
        return Span(start, end, random.choice(("누구", "누구", f"어느 {noun}")), random.choice(("사람", "인물", noun)))
    if group in PLACES:
        return Span(start, end, random.choice(("어디", "어디", f"어느 {noun}")), random.choice(("곳", "지역", noun)))
    return Span(start, end, random.choice(("무엇", f"어떤 {noun}")), noun)


def ask(sentence: str, morphemes: Sequence[morphology.Morpheme], span: Span) -> str:
    """Return the question that ``span`` answers."""
    end = next((m for m in reversed(morphemes) if m.tag == "EF"), None)
    stem = end and next((m for m in reversed(morphemes) if m.start < end.start and m.tag in MODIFIED), None)
    if end is None or stem is None or stem.start < span.end:
        return _thin(f"{sentence[: span.start]}{span.word} {sentence[span.end :].rstrip('. ')}", span.word) + "?"
    past = any(m.tag == "EP" for m in morphemes if m.start >= stem.start)
    word = next((m.start for m in morphemes if m.start <= stem.start and " " not in sentence[m.start : stem.start]), 0)
    before = sentence[word : stem.start]
    kiwi = morphology.kiwi()
    if random.random() < 0.5:  # 누가 태어났나?
        ending = [("었", "EP")] * past + [(random.choice(("나", "는가", "나요")), "EF")]
        verb = before + str(kiwi.join([(stem.form, stem.tag), *ending]))
        body = f"{sentence[: span.start]}{span.word}{sentence[span.end : word]}"
        return f"{_thin(body, span.word)} {verb}?"
    modifier = "은" if past or stem.tag in ("VA", "XSA", "VCP", "VA-I", "VA-R") else "는"
    verb = before + str(kiwi.join([(stem.form, stem.tag), (modifier, "ETM")]))
    rest = sentence[span.end : word].split(" ", 1)  # the particle goes with the answer
    body = _thin(f"{sentence[: span.start]} {rest[1] if len(rest) > 1 else ''}")
    if span.word == "언제":
        tail = random.choice(("것은 언제인가", "때는 언제인가", "해는", "날은", "시기는", "연도는"))
    elif span.word.startswith("몇"):
        tail = random.choice((f"것은 {span.word}인가", f"{span.noun or '수'}의 수는", "것은 얼마인가"))
    else:
        thing = span.noun or "것"
        topic = thing + ("은" if (ord(thing[-1]) - 0xAC00) % 28 else "는")
        tail = random.choice((topic, f"{topic} {ASKS.get(span.word.split()[0], span.word)}인가", f"{thing}의 이름은"))
    return f"{body} {verb} {tail}?"


def _thin(body: str, asking: str = "") -> str:
    """Leave out some words, as people do who ask, but not the one that asks."""
    words = body.split()
    if random.random() < 0.3 and len(words) > 6:  # only what is near the end, where the predicate is
        shorter = words[-random.randint(5, len(words)) :]
        words = shorter if asking in " ".join(shorter) else words
    rate = random.choice((0.0, 0.1, 0.3))
    kept = [w for w in words if random.random() >= rate or (asking and asking.rsplit(maxsplit=1)[-1] in w)]
    return " ".join(kept if len(kept) >= 3 else words)


def examples(sources: list[str], limit: int, n_context: int, words: int) -> Iterator[dict[str, object]]:
    """Yield FiD entries, one a passage."""
    name_types = NameTypes.load(next(resource("models/span").glob("gen-*")))
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
            found = [
                s for s in spans(sentence, morphemes, name_types) if sentence[s.start : s.end] not in passage.title
            ]
            if not found or len(window) < 20:
                continue
            span = random.choice(found)
            answer, question = sentence[span.start : span.end], ask(sentence, morphemes, span)
            if answer in question:
                continue
            if passage.title not in question and random.random() < 0.6:
                question = f"{passage.title}{random.choice(('', '에서', '의'))} {question}"
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
    parser.add_argument("--n-context", type=int, default=2)
    parser.add_argument("--passage-words", type=int, default=40)
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    random.seed(1)
    with open(arguments.output, "w", encoding="utf-8") as out:
        for entry in examples(arguments.articles, arguments.limit, arguments.n_context, arguments.passage_words):
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
