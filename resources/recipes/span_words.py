"""Learn what the span reader knows of words beforehand: how rare each is, and what kind of thing a name names.

    python resources/recipes/span_words.py ARTICLES.jsonl[.xz]... -o DIR
    kofid train-reader --reader span --words DIR ...

Reads whole-article JSONL (``id``, ``title``, ``text``). Of every eighth article the first 1,500 characters are
analysed, of the other even ones the first 160, which hold the definition; the rest are left out. Writes into DIR:

``morpheme_df.tsv``, rarity: in how many pieces of 150 morphemes each of the 22,000 commonest content words stands.

``kinds.npz``, kinds: (name, kind) pairs are gathered where the text says what a name names (the patterns of Hearst
1992, in Korean): "TITLE ... KIND이다" in the definition, which counts thrice, "NAME이라는 KIND", "NAME, NAME 등의 KIND",
"KIND인 NAME", and "KIND NAME" for kinds that define 30 articles or more. Then vectors are fitted so that the softmax of
log prior plus name vector times kind vector foretells the kind (fastText, Joulin et al. 2017, section 2); a name's
vector is the sum of those of its character pieces and, for the commonest names, one of its own, which is dropped out
at random in training so that the pieces learn too.

The same articles and seed make the same files. All of Korean Wikipedia takes some 10 minutes on one core
and less than 2 GB of memory; a small part of it teaches rarity well, but kinds badly.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, tee
from pathlib import Path

import numpy as np
import torch

from kofid.cli import console
from kofid.formats import read_corpus
from kofid.korean.kiwi import Morpheme, analyze_many
from kofid.reader.span.lexicon import count_lexicon
from kofid.reader.span.name_types import BUCKETS, NameTypes, name_pieces
from kofid.reader.span.passage import term_key
from kofid.reader.span.reader import Words

LEAST_CHARS, LEAD_CHARS, LONG_CHARS = 60, 160, 1_500
PIECE_MORPHEMES = 150
N_TERMS, N_KINDS, DIMENSIONS = 22_000, 1_600, 20
MAX_NAME, MAX_KIND = 25, 8
# A kind must define this many articles before a bare noun in front of a name counts as its kind.
LEAST_DEFINED = 30
EPOCHS, BATCH, LEARNING_RATE, OWN_DROPOUT, SHRINKAGE = 4, 1024, 0.01, 0.3, 1e-3

NOUNS = frozenset(["NNG", "NNP", "SL"])
NOMINAL = NOUNS | {"NNB", "XSN", "SN", "XR", "SH", "XPN"}
DEFINED = frozenset(["NNG", "NNP", "NNB", "XSN"])
# Nouns that stand where a kind would but name none.
NO_KIND = frozenset([
    "것", "말", "이름", "목록", "문서", "일종", "때", "등", "수", "이후", "중", "당시", "대한", "자신", "현재", "다음", "하나",
    "경우", "후", "뒤", "원래", "본래", "출신", "동안", "과거", "오늘날", "세기", "초", "기준", "국립", "시립", "주한", "통일", "북",
    "남", "다양", "고대", "현대", "역대", "초대", "전", "현", "제",
])  # fmt: skip
# These are kinds in a definition, but not in front of a name.
NOT_BESIDE = frozenset(["지역", "시대", "시즌", "리그"])


def read_leads(sources: Sequence[str], limit: int | None) -> Iterator[tuple[str, str]]:
    """Yield the title and the beginning of the articles that are learned from."""
    articles = islice(read_corpus(sources, split=False, skipped=[]), limit)
    for number, article in enumerate(articles, start=1):
        if number % 2 == 0 and len(article.text) >= LEAST_CHARS:
            yield article.title, " ".join(article.text[: LEAD_CHARS if number % 8 else LONG_CHARS].split())


@dataclass
class Pairs:
    """How often a name is said to be of a kind.

    ``said``: (name, kind) outright. ``beside``: (name, noun in front of it). ``defined``: articles by kind.
    """

    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    beside: Counter[tuple[str, str]] = field(default_factory=Counter)
    defined: Counter[str] = field(default_factory=Counter)

    def add(self, title: str, morphemes: Sequence[Morpheme]) -> None:
        """Count what an article says."""
        title = re.sub(r"\s*\(.*\)", "", title).strip()
        kind = definition(morphemes) if 1 < len(title) <= MAX_NAME else None
        if kind:
            self.said[title.replace(" ", "").lower(), kind] += 3
            self.defined[kind] += 1
        for i in range(1, len(morphemes) - 2):
            form, tag = morphemes[i].form, morphemes[i].tag
            if form in ("라는", "이라는", "이"):
                self.said.update(called(morphemes, i))
            if form == "등" and tag == "NNB":
                self.said.update(listed(morphemes, i))
            if tag == "VCP" and morphemes[i + 1].tag == "ETM" and morphemes[i - 1].tag in ("NNG", "XSN"):
                self.said.update((name, noun_at(morphemes, i - 1)) for name in name_from(morphemes, i + 2))
            if tag == "NNG" and morphemes[i + 1].tag == "NNP" and morphemes[i - 1].tag != "NNG":
                self.beside.update((name, form) for name in name_from(morphemes, i + 1))

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how often each name is of each kind, without what names no kind."""
        total = self.said.copy()
        for (name, kind), count in self.beside.items():
            if self.defined[kind] >= LEAST_DEFINED and kind not in NOT_BESIDE:
                total[name, kind] += count
        return {k: n for k, n in total.items() if k[1] not in NO_KIND and 1 < len(k[0]) <= MAX_NAME}


def noun_at(morphemes: Sequence[Morpheme], i: int) -> str:
    """Return the noun that ends at morpheme ``i``: a lone syllable with the nouns before it."""
    noun = morphemes[i].form
    while len(noun) == 1 and i > 0 and morphemes[i - 1].tag in ("NNG", "NNP", "XR"):
        i -= 1
        noun = morphemes[i].form + noun
    return noun.lower()


def name_from(morphemes: Sequence[Morpheme], start: int) -> list[str]:
    """Return the name that begins at morpheme ``start``, alone in a list; none if there is none."""
    end = start
    while end < len(morphemes) and morphemes[end].tag in ("NNP", "SL"):
        end += 1
    return [plain("".join(m.form for m in morphemes[start:end]))] if end > start else []


def plain(name: str) -> str:
    """Return a name as it is looked up: small letters, no spaces."""
    return name.replace(" ", "").lower()


def last_noun(morphemes: Sequence[Morpheme], start: int) -> int:
    """Return the last morpheme of the run of common nouns from ``start``; -1 if there is none."""
    if start >= len(morphemes) or morphemes[start].tag != "NNG":
        return -1
    end = start
    while end + 1 < len(morphemes) and morphemes[end + 1].tag in ("NNG", "XSN"):
        end += 1
    return end


def definition(morphemes: Sequence[Morpheme]) -> str | None:
    """Return the kind of "... KIND이다/이며/이고/이었"; None if the article does not begin so."""
    for i in range(1, min(90, len(morphemes) - 1)):
        before, here, after = morphemes[i - 1 : i + 2]
        if here.tag == "VCP" and after.form in ("다", "며", "고", "었") and before.tag in DEFINED:
            noun = noun_at(morphemes, i - 1)
            return noun if len(noun) <= MAX_KIND else None
    return None


def called(morphemes: Sequence[Morpheme], i: int) -> Iterator[tuple[str, str]]:
    """Yield the pair of "NAME라는 KIND", with 라는 or 이 + 라는 at morpheme ``i``."""
    split = morphemes[i].form == "이"
    if morphemes[i - 1].tag not in NOUNS or (split and (morphemes[i].tag, morphemes[i + 1].form) != ("VCP", "라는")):
        return
    end = last_noun(morphemes, i + 1 + split)
    if 0 <= end < len(morphemes) - 1 and morphemes[end + 1].tag not in NOMINAL:
        yield plain(morphemes[i - 1].form), noun_at(morphemes, end)


def listed(morphemes: Sequence[Morpheme], i: int) -> Iterator[tuple[str, str]]:
    """Yield the pairs of "NAME, NAME 등의 KIND", with 등 at morpheme ``i``."""
    end = last_noun(morphemes, i + 1 + (morphemes[i + 1].tag == "JKG"))
    if end < 0 or morphemes[i - 1].tag not in NOUNS:
        return
    kind = noun_at(morphemes, end)
    for j in range(i - 1, max(i - 16, -1), -2):
        if morphemes[j].tag in NOUNS:
            yield plain(morphemes[j].form), kind
        if j == 0 or morphemes[j - 1].form not in (",", "·", "와", "과"):
            return


def read_pieces(articles: Iterator[tuple[str, str]], pairs: Pairs) -> Iterator[list[str]]:
    """Yield the terms of each piece of the articles, and count what they say of names in ``pairs`` on the way."""
    titled, texts = tee(articles)
    for (title, _), morphemes in zip(titled, analyze_many(text for _, text in texts), strict=True):
        pairs.add(title, morphemes)
        for start in range(0, len(morphemes), PIECE_MORPHEMES):
            yield [term_key(m) for m in morphemes[start : start + PIECE_MORPHEMES]]


@dataclass(frozen=True)
class Examples:
    """N pairs to learn from: pieces of the names with their weights, laid end to end.

    ``pieces``, ``weights``: (sum of lengths,); pair ``n`` has those from ``bounds[n]`` to ``bounds[n + 1]``.
    ``kind`` and ``importance``: (N,). ``own`` are the names with a vector of their own, commonest first.
    """

    pieces: np.ndarray
    weights: np.ndarray
    bounds: np.ndarray
    kind: np.ndarray
    importance: np.ndarray
    own: list[str]

    def bags(self, chosen: np.ndarray, keep_own: np.ndarray | None = None) -> tuple[torch.Tensor, ...]:
        """Return pieces, offsets and weights of the pairs ``chosen``, own vectors only where ``keep_own``, (len(chosen),)."""
        lengths = np.diff(self.bounds)[chosen]
        offsets = np.cumsum(lengths) - lengths
        places = np.repeat(self.bounds[chosen] - offsets, lengths) + np.arange(lengths.sum())
        weights = self.weights[places]
        if keep_own is not None:
            weights = np.where((self.pieces[places] >= BUCKETS) & ~np.repeat(keep_own, lengths), 0.0, weights)
        return tuple(torch.from_numpy(a) for a in (self.pieces[places], offsets, weights.astype(np.float32)))


def gather_examples(counts: dict[tuple[str, str], int]) -> tuple[Examples, tuple[str, ...]]:
    """Return the pairs of the commonest kinds, and those kinds; a kind of one much-named thing is not common."""
    by_kind: defaultdict[str, float] = defaultdict(float)
    for (_, kind), count in counts.items():
        by_kind[kind] += min(count, 3) ** 0.5
    kinds = tuple(sorted(by_kind, key=by_kind.__getitem__, reverse=True)[:N_KINDS])
    index = {kind: i for i, kind in enumerate(kinds)}
    pairs = [(name, kind, count) for (name, kind), count in counts.items() if kind in index]
    by_name: Counter[str] = Counter()
    for name, _, count in pairs:
        by_name[name] += count
    own = [name for name, _ in by_name.most_common(BUCKETS - 1)]
    row = {name: BUCKETS + i for i, name in enumerate(own)}
    bags = [[*name_pieces(name), *([(row[name], 1.0)] if name in row else [])] for name, _, _ in pairs]
    return Examples(
        pieces=np.array([piece for bag in bags for piece, _ in bag]),
        weights=np.array([weight for bag in bags for _, weight in bag], dtype=np.float32),
        bounds=np.cumsum([0, *map(len, bags)]),
        kind=np.array([index[kind] for _, kind, _ in pairs]),
        importance=np.array([min(count, 30) ** 0.5 for _, _, count in pairs], dtype=np.float32),
        own=own,
    ), kinds


def fit(examples: Examples, n_kinds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of pieces (2 * BUCKETS, D) and kinds (n_kinds, D); say how often they are right on pairs held out."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    pieces = torch.nn.EmbeddingBag(2 * BUCKETS, DIMENSIONS, mode="sum")
    torch.nn.init.normal_(pieces.weight, std=0.05)
    kinds = torch.nn.Parameter(torch.randn(n_kinds, DIMENSIONS) * 0.1)
    shares = np.bincount(examples.kind, examples.importance) / examples.importance.sum()
    prior = torch.from_numpy(np.log(shares)).float()
    optimizer = torch.optim.Adam([pieces.weight, kinds], lr=LEARNING_RATE)
    order = generator.permutation(len(examples.kind))
    held_out, order = np.split(order, [min(4_000, len(order) // 10)])
    right = torch.from_numpy(examples.kind)
    importance = torch.from_numpy(examples.importance)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.5**epoch
        generator.shuffle(order)
        for start in console.progress(range(0, len(order), BATCH), f"epoch {epoch + 1}", -(-len(order) // BATCH)):
            batch = order[start : start + BATCH]
            bags, offsets, weights = examples.bags(batch, generator.random(len(batch)) >= OWN_DROPOUT)
            vectors = pieces(bags, offsets, per_sample_weights=weights)
            losses = torch.nn.functional.cross_entropy(vectors @ kinds.T + prior, right[batch], reduction="none")
            loss = (losses * importance[batch]).sum() / importance[batch].sum()
            optimizer.zero_grad()
            (loss + SHRINKAGE * vectors.pow(2).sum(1).mean()).backward()
            optimizer.step()
    with torch.no_grad():
        bags, offsets, weights = examples.bags(held_out)
        scores = pieces(bags, offsets, per_sample_weights=weights) @ kinds.T + prior
    share = (scores.argmax(1) == right[held_out]).float().mean().item()
    print(f"kind right for {share:.1%} of {len(held_out)} pairs held out, of {len(kinds)} kinds", file=sys.stderr)
    return pieces.weight.detach().numpy(), kinds.detach().numpy()


def learn_kinds(counts: dict[tuple[str, str], int], seed: int) -> NameTypes:
    """Return the model of kinds fitted to the pairs."""
    examples, nouns = gather_examples(counts)
    pieces, kinds = fit(examples, len(nouns), seed)
    # One outlier would coarsen the signed bytes that all vectors are kept in.
    limit = np.percentile(np.abs(pieces), 99.8)
    hashes, rows = np.unique([zlib.crc32(name.encode("utf-8")) for name in examples.own], return_index=True)
    return NameTypes(np.clip(pieces, -limit, limit), kinds, nouns, hashes, rows)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("articles", nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="read only the first N articles")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    pairs = Pairs()
    leads = console.progress(read_leads(arguments.articles, arguments.limit), "articles")
    lexicon = count_lexicon(read_pieces(iter(leads), pairs), size=N_TERMS)
    counts = pairs.counts()
    if not counts:
        parser.error("these articles say of no name what it names; give more of them")
    words = Words(lexicon, learn_kinds(counts, arguments.seed))
    arguments.output.mkdir(parents=True, exist_ok=True)
    words.save(arguments.output)


if __name__ == "__main__":
    main()
