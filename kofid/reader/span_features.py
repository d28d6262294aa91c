"""What the trees see of a candidate span: features of the span alone, and of the span in the light of the question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kofid.reader.span_kinds import GROUPS, Kinds
from kofid.reader.span_lexicon import Lexicon
from kofid.reader.span_passage import NOMINAL, PARTICLES, PREDICATES, TAG, AnalyzedPassage
from kofid.reader.span_question import ASKS, AnalyzedQuestion
from kofid.types import Hit

MAX_SENTENCES = 36
_FAR = 40.0

_FOLLOWING = {
    form: code
    for code, forms in enumerate(
        ("은 는", "이 가", "을 를", "의", "에", "에서 서", "으로 로", "와 과 하고 이랑 랑", "도", "까지", "부터", "에게 한테 께", "이라고 라고 이라는 라는 란 이란"),
        start=1,
    )
    for form in forms.split()
}
_UNIT_KINDS = {
    unit: code
    for code, units in enumerate(
        (
            "년 년도 연도",
            "월 일 시 분 초 세기 년대 개월 주 주년 시간 요일 주일 연대",
            "명 인 사람 여명",
            "개 권 편 곡 대 척 마리 가지 종 채 장 건 점 곳 개국 국 자루 그루 기 량 석",
            "번 회 차 호 위 번째 등 조 항 세 살 대 층 기 단계 골",
            "km m kg cm mm ㎞ ㎡ ㎢ 미터 킬로미터 킬로그램 그램 톤 리터 평 도 ℃ km² m² ㎏ t g ha 센티미터 제곱 평방 헥타르 광년 km2",
            "원 달러 엔 유로 파운드 위안 냥 프랑 마르크 전",
            "% 퍼센트 프로 배 ％",
        ),
        start=1,
    )
    for unit in units.split()
}
_DAY = re.compile(r"(?:(?P<y>(?:기원전\s*|서기\s*)?\d{1,4}\s*년)\s*)?(?:(?P<m>\d{1,2}\s*월)\s*)?(?P<d>\d{1,2}\s*일)?$")
_SURNAMES = frozenset("김이박최정강조윤장임한오서신권황안송전홍유고문양손배백허남심노하곽성차주우구민류나진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국")
_PLACE_ENDS = frozenset("시도군구읍면리동산강섬국주성역항곶현부촌해호만")
_DATE_ASKED = {"해": 1, "년도": 1, "연도": 1, "년": 1, "날": 2, "날짜": 2, "생일": 2, "일자": 2, "일": 2, "시기": 4, "시대": 4, "세기": 4, "월": 5, "달": 5}
_WORD_ENDS = " \n\t.,!?;:)]〉》」』’”\"'"

STATIC_NAMES = (
    "n_morphemes n_chars n_words first_tag last_tag before_tag after_tag following has_digit date_form unit_kind starts_word "
    "noun_before noun_after open_before quoted bracket_after n_particles n_predicates n_nouns n_marks has_foreign has_hanja "
    "genitive_inside adnominal_inside adnominal_before surname place_end title_is in_title sentence_index sentence_left "
    "sentence_length idf_first idf_last idf_max idf_sum number_before list_near in_bracket range_near n_names"
).split()


def _date_form(surface: str) -> int:
    """Return 0 for no date, else 1 year, 2 month, 3 day, 4 year-month, 5 month-day, 6 year-month-day."""
    match = _DAY.match(surface)
    if match is None or not surface:
        return 0
    return (0, 1, 2, 4, 3, 0, 5, 6)[bool(match["y"]) + 2 * bool(match["m"]) + 4 * bool(match["d"])]


def static_features(view: AnalyzedPassage, lexicon: Lexicon) -> np.ndarray:
    """Return what does not depend on the question, float32 of shape (C, len(STATIC_NAMES))."""
    n = len(view.tags)
    if not len(view.first):
        return np.zeros((0, len(STATIC_NAMES)), dtype=np.float32)
    text, tags, first, last = view.passage.text, view.tags, view.first, view.last
    padded = np.concatenate([[0], tags, [0]])
    before, after = padded[first], padded[last + 2]
    gap_before = np.array([a == 0 or text[a - 1].isspace() for a in view.start.tolist()])
    gap_after = np.array([b >= len(text) or text[b] in _WORD_ENDS for b in view.end.tolist()])

    def within(codes: frozenset[int] | set[int]) -> np.ndarray:
        total = np.concatenate([[0], np.cumsum(np.isin(tags, list(codes)))])
        return total[last + 1] - total[first]

    following = np.array(
        [*(_FOLLOWING.get(f, 14) if t in PARTICLES else 0 for f, t in zip(view.forms, tags.tolist(), strict=True)), 0]
    )[last + 1]
    units = np.array([_UNIT_KINDS.get(f.lower(), 0) for f in view.forms])[last]
    idf = np.array([lexicon.idf(k) if k else 0.0 for k in view.keys])
    idf_total = np.concatenate([[0.0], np.cumsum(idf)])
    idf_max = idf[first]
    for step in range(1, int((last - first).max()) + 1):
        idf_max = np.maximum(idf_max, idf[np.minimum(first + step, last)])
    spans = [text[a:b] for a, b in zip(view.start.tolist(), view.end.tolist(), strict=True)]
    title = view.passage.title.partition(" (")[0].replace(" ", "")
    commas = np.concatenate([[0], np.cumsum([f in (",", "·", "、") for f in view.forms])])
    bounds = view.sentence_bounds[view.sentence]
    opened = np.cumsum([f in "([" for f in view.forms]) - np.cumsum([f in ")]" and bool(f) for f in view.forms])
    columns = (
        last - first + 1,
        view.end - view.start,
        np.array([s.count(" ") + 1 for s in spans]),
        tags[first],
        tags[last],
        before,
        after,
        following,
        within({TAG["SN"], TAG["NR"]}) > 0,
        np.array([_date_form(s) if s[0] in "0123456789기서" else 0 for s in spans]),
        units,
        gap_before,
        np.isin(before, list(NOMINAL)) & (first > bounds[:, 0]),
        np.isin(after, list(NOMINAL)) & (last + 1 < bounds[:, 1]),
        before == TAG["SSO"],
        (before == TAG["SSO"]) & (after == TAG["SSC"]),
        np.array([text[b : b + 1] in ("(", "[") for b in view.end.tolist()]),
        within(PARTICLES),
        within(PREDICATES),
        within({TAG["NNG"], TAG["XR"]}),
        within({TAG["SP"], TAG["SO"], TAG["SW"], TAG["SSO"], TAG["SSC"]}),
        within({TAG["SL"]}),
        within({TAG["SH"]}),
        within({TAG["JKG"]}),
        within({TAG["ETM"]}),
        before == TAG["ETM"],
        np.array([len(s) in (2, 3, 4) and s[0] in _SURNAMES and " " not in s for s in spans]),
        np.array([s[-1] in _PLACE_ENDS for s in spans]),
        np.array([s == title for s in view.surfaces]),
        np.array([s in title for s in view.surfaces]),
        view.sentence,
        first - bounds[:, 0],
        bounds[:, 1] - bounds[:, 0],
        idf[first],
        idf[last],
        idf_max,
        idf_total[last + 1] - idf_total[first],
        np.isin(before, [TAG["SN"], TAG["NR"]]),
        commas[np.minimum(last + 3, n)] - commas[np.maximum(first - 2, 0)],
        opened[first] > 0,
        np.isin(padded[np.maximum(first, 0)], [TAG["SO"]]) | np.isin(after, [TAG["SO"]]),
        within({TAG["NNP"]}),
    )
    del gap_after
    return np.stack([np.asarray(c, dtype=np.float32) for c in columns], axis=1)


@dataclass(frozen=True, slots=True)
class PreparedPassage:
    """An analysed passage with its static features (C, F) and name vectors (C, D), ready for any question."""

    view: AnalyzedPassage
    static: np.ndarray
    names: np.ndarray


def prepare_passage(view: AnalyzedPassage, lexicon: Lexicon, kinds: Kinds) -> PreparedPassage:
    """Return ``view`` with everything of it that does not depend on the question."""
    names = kinds.name_vectors(view.passage.text, view.start, view.end, view.surfaces)
    static = np.concatenate([static_features(view, lexicon), kinds.group_shares(names)], axis=1)
    return PreparedPassage(view, static, names)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The C candidates kept for a question: which hit, which of its spans, and features (C, F) float32."""

    hit: np.ndarray
    span: np.ndarray
    features: np.ndarray
    surfaces: list[str]


QUESTION_NAMES = (
    "ask kind has_unit hit_rank passage_weight bigrams_covered title_covered title_in_question sentence_covered neighbours_covered "
    "passage_covered before_covered after_covered sentence_share sentence_rank sentence_gap missing inside_covered inside_share "
    "near_3 near_6 near_12 proximity left_distance right_distance top_distance second_distance verb_distance verb_here "
    "head_inside head_ends head_before head_after head_distance head_in_sentence unit_is unit_inside digits_asked "
    "bigrams_in_sentence bigrams_left bigrams_right bigrams_inside bigrams_head n_hits n_mentions best_sentence_of_text "
    "particle_same n_terms idf_terms adjacent_before adjacent_after surface_in_question sum_sentences "
    "kind_score kind_known date_asked unit_same next_verb_asked next_verb_is verb_between"
).split()
NAMES = (*STATIC_NAMES, *(f"group_{name}" for name in GROUPS), *QUESTION_NAMES)


def candidate_features(
    question: AnalyzedQuestion, hits: Sequence[Hit], prepared: Sequence[PreparedPassage], lexicon: Lexicon, kinds: Kinds
) -> Candidates:
    """Return the candidates in the most promising sentences of ``hits`` with their features."""
    board = _Board(question, hits, prepared, lexicon, kinds)
    keep = board.kept_sentences()
    hit_ids, span_ids = board.kept_spans(keep)
    static = np.concatenate([p.static for p in prepared])[board.flat_span(hit_ids, span_ids)]
    surfaces = [prepared[h].view.surfaces[s] for h, s in zip(hit_ids.tolist(), span_ids.tolist(), strict=True)]
    dynamic = board.features(hit_ids, span_ids, surfaces)
    return Candidates(hit_ids, span_ids, np.concatenate([static, dynamic], axis=1), surfaces)


def _bigrams(codes: np.ndarray) -> np.ndarray:
    """Return a number for each two neighbouring characters that are both no space: (n - 1,), 0 where one is."""
    if len(codes) < 2:
        return np.zeros(0, dtype=np.int64)
    spaced = (codes[:-1] <= 46) | (codes[1:] <= 46) | (codes[:-1] == 63) | (codes[1:] == 63)
    return np.where(spaced, 0, codes[:-1].astype(np.int64) * 65536 + codes[1:])


def _codes(text: str) -> np.ndarray:
    lowered = text.lower() if len(text.lower()) == len(text) else text
    return np.minimum(np.frombuffer(lowered.encode("utf-32-le"), dtype=np.uint32), 65535)


class _Board:
    """All hits laid end to end, with where each term of the question stands in them."""

    def __init__(
        self,
        question: AnalyzedQuestion,
        hits: Sequence[Hit],
        prepared: Sequence[PreparedPassage],
        lexicon: Lexicon,
        kinds: Kinds,
    ) -> None:
        self.kinds = kinds
        self.question, self.hits, self.prepared = question, hits, prepared
        views = [p.view for p in prepared]
        self.morpheme_base = np.cumsum([0, *(len(v.tags) for v in views)])
        self.sentence_base = np.cumsum([0, *(len(v.sentence_bounds) for v in views)])
        self.span_base = np.cumsum([0, *(len(v.first) for v in views)])
        self.char_base = np.cumsum([0, *(len(v.passage.text) + 1 for v in views)])
        self.tags = np.concatenate([v.tags for v in views])
        self.sentence_of = np.concatenate([v.sentence_of + b for v, b in zip(views, self.sentence_base, strict=False)])
        self.bounds = np.concatenate(
            [v.sentence_bounds + b for v, b in zip(views, self.morpheme_base, strict=False)]
        )
        self.hit_of_sentence = np.repeat(np.arange(len(views)), np.diff(self.sentence_base))
        self.weights = np.array([lexicon.idf(t) for t in question.terms] or [1.0], dtype=np.float32)
        self.match = self._matches(views)
        self._cover(views)

    def _matches(self, views: Sequence[AnalyzedPassage]) -> np.ndarray:
        """Return which morpheme is which term, bool of shape (T, M)."""
        index = {term: i for i, term in enumerate(self.question.terms)}
        match = np.zeros((len(self.weights), self.morpheme_base[-1]), dtype=bool)
        position = 0
        for view in views:
            for key in view.keys:
                if key in index:
                    match[index[key], position] = True
                position += 1
        return match

    def _cover(self, views: Sequence[AnalyzedPassage]) -> None:
        """Find what share of the question's rarity each sentence, its neighbours and its passage hold."""
        n_sentences, total = self.sentence_base[-1], self.weights.sum()
        here = np.zeros((len(self.weights), n_sentences), dtype=bool)
        terms, at = np.nonzero(self.match)
        here[terms, self.sentence_of[at]] = True
        padded = np.pad(here, ((0, 0), (1, 1)))
        before = padded[:, :-2].copy()
        before[:, self.sentence_base[:-1][np.diff(self.sentence_base) > 0]] = False
        after = padded[:, 2:].copy()
        after[:, self.sentence_base[1:] - 1] = False
        in_passage = np.stack([here[:, a:b].any(axis=1) for a, b in zip(self.sentence_base[:-1], self.sentence_base[1:], strict=True)], axis=1)
        titles = [v.passage.title.lower() for v in views]
        in_title = np.array([[t.rstrip("~") in title for title in titles] for t in self.question.terms] or [[False] * len(titles)])
        weigh = lambda found: self.weights @ found / total  # noqa: E731
        self.covered = weigh(here)
        self.covered_around = weigh(here | before | after | in_title[:, self.hit_of_sentence])
        self.covered_before, self.covered_after = weigh(before), weigh(after)
        self.covered_passage = weigh(in_passage | in_title)
        self.covered_title = weigh(in_title)
        self.best_missing = (self.weights[:, None] * ~(here | in_title[:, self.hit_of_sentence])).max(axis=0)
        rank_loss = 0.02 * np.arange(len(views))
        self.promise = (
            self.covered + 0.6 * self.covered_around + (0.4 * self.covered_passage - rank_loss)[self.hit_of_sentence]
        )

    def kept_sentences(self) -> np.ndarray:
        """Return the most promising sentences, (at most MAX_SENTENCES,) in text order."""
        return np.sort(np.argsort(-self.promise, kind="stable")[:MAX_SENTENCES])

    def kept_spans(self, sentences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return hit and span number of each candidate in ``sentences``, (C,) each."""
        kept = np.zeros(self.sentence_base[-1], dtype=bool)
        kept[sentences] = True
        hit_ids, span_ids = [], []
        for h, p in enumerate(self.prepared):
            chosen = np.nonzero(kept[p.view.sentence + self.sentence_base[h]])[0]
            hit_ids.append(np.full(len(chosen), h))
            span_ids.append(chosen)
        return np.concatenate(hit_ids), np.concatenate(span_ids)

    def flat_span(self, hit_ids: np.ndarray, span_ids: np.ndarray) -> np.ndarray:
        """Return the number of each span in the hits laid end to end."""
        return self.span_base[hit_ids] + span_ids

    def features(self, hit_ids: np.ndarray, span_ids: np.ndarray, surfaces: list[str]) -> np.ndarray:
        """Return what depends on the question, float32 of shape (C, len(QUESTION_NAMES))."""
        flat = self.flat_span(hit_ids, span_ids)
        gather = lambda name, base: np.concatenate(  # noqa: E731
            [getattr(p.view, name) + b for p, b in zip(self.prepared, base, strict=False)]
        )[flat]
        first, last = gather("first", self.morpheme_base), gather("last", self.morpheme_base)
        start, end = gather("start", self.char_base), gather("end", self.char_base)
        sentence = gather("sentence", self.sentence_base)
        groups = (
            self._of_question(len(flat)),
            self._of_hit(hit_ids),
            self._of_sentence(sentence, hit_ids),
            self._of_distance(first, last, sentence),
            self._of_head(first, last, sentence),
            self._of_bigrams(start, end, sentence),
            self._of_mentions(hit_ids, sentence, surfaces),
            self._of_kind(hit_ids, span_ids),
            self._of_verb(first, last, sentence),
        )
        named = {name: column for group in groups for name, column in group.items()}
        return np.stack([np.asarray(named[name], dtype=np.float32) for name in QUESTION_NAMES], axis=1)

    def _of_question(self, n: int) -> dict[str, np.ndarray]:
        question = self.question
        return {
            "ask": np.full(n, question.ask),
            "kind": np.full(n, question.kind),
            "has_unit": np.full(n, _UNIT_KINDS.get(question.unit, 9 if question.unit else 0)),
            "n_terms": np.full(n, len(question.terms)),
            "idf_terms": np.full(n, self.weights.sum()),
            "digits_asked": np.full(n, any(c.isdigit() for c in question.text)),
        }

    def _of_hit(self, hit_ids: np.ndarray) -> dict[str, np.ndarray]:
        asked = np.unique(_bigrams(_codes(self.question.text)))
        asked = asked[asked > 0]
        found = [np.isin(asked, _bigrams(_codes(h.passage.title + "\n" + h.passage.text))).mean() for h in self.hits]
        counts = np.add.reduceat(self.match, self.morpheme_base[:-1], axis=1)
        length = np.diff(self.morpheme_base) / max(float(np.diff(self.morpheme_base).mean()), 1.0)
        weight = self.weights @ (counts / (counts + 0.5 + 0.5 * length)) / self.weights.sum()
        compact = self.question.text.replace(" ", "")
        titles = [h.passage.title.partition(" (")[0].replace(" ", "") for h in self.hits]
        return {
            "hit_rank": hit_ids,
            "passage_weight": (weight - weight.max())[hit_ids],
            "bigrams_covered": np.array(found)[hit_ids],
            "title_covered": self.covered_title[hit_ids],
            "title_in_question": np.array([bool(t) and t in compact for t in titles])[hit_ids],
            "passage_covered": self.covered_passage[hit_ids],
        }

    def _of_sentence(self, sentence: np.ndarray, hit_ids: np.ndarray) -> dict[str, np.ndarray]:
        ranks = np.argsort(np.argsort(-self.promise, kind="stable"), kind="stable")
        best_here = np.maximum.reduceat(self.covered, self.sentence_base[:-1])
        return {
            "sentence_covered": self.covered[sentence],
            "neighbours_covered": self.covered_around[sentence],
            "before_covered": self.covered_before[sentence],
            "after_covered": self.covered_after[sentence],
            "sentence_share": (self.covered / max(float(self.covered.max()), 1e-9))[sentence],
            "sentence_rank": ranks[sentence],
            "sentence_gap": best_here[hit_ids] - self.covered[sentence],
            "missing": self.best_missing[sentence],
            "sum_sentences": self.promise[sentence] - self.promise.max(),
        }

    def _of_distance(self, first: np.ndarray, last: np.ndarray, sentence: np.ndarray) -> dict[str, np.ndarray]:
        left, right = self._distances(self.match, first, last, sentence)
        nearest = np.minimum(left, right)
        order = np.argsort(-self.weights, kind="stable")
        total = self.weights.sum()
        inside = np.pad(np.cumsum(self.match, axis=1), ((0, 0), (1, 0)))
        held = (inside[:, last + 1] - inside[:, first]) > 0
        any_match = self.match.any(axis=0)
        count = np.concatenate([[0], np.cumsum(any_match)])
        verb = self.question.terms.index(self.question.verb) if self.question.verb in self.question.terms else -1
        none = np.full(len(first), _FAR)
        near = {f"near_{d}": self.weights @ ((nearest <= d) & ~held) / total for d in (3, 6, 12)}
        return near | {
            "inside_covered": self.weights @ held / total,
            "inside_share": (count[last + 1] - count[first]) / (last - first + 1),
            "proximity": self.weights @ (~held / (1.0 + nearest / 3.0)) / total,
            "left_distance": left.min(axis=0),
            "right_distance": right.min(axis=0),
            "top_distance": nearest[order[0]],
            "second_distance": nearest[order[1]] if len(order) > 1 else none,
            "verb_distance": right[verb] if verb >= 0 else none,
            "verb_here": nearest[verb] if verb >= 0 else none,
            "adjacent_before": any_match[np.maximum(first - 1, 0)] | any_match[np.maximum(first - 2, 0)],
            "adjacent_after": any_match[np.minimum(last + 1, len(any_match) - 1)]
            | any_match[np.minimum(last + 2, len(any_match) - 1)],
        }

    def _distances(
        self, match: np.ndarray, first: np.ndarray, last: np.ndarray, sentence: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return morphemes from each span back and on to the nearest match in its sentence, (T, C) each, at most _FAR."""
        n = match.shape[1]
        places = np.arange(n)
        previous = np.maximum.accumulate(np.where(match, places, -1), axis=1)
        following = np.minimum.accumulate(np.where(match, places, n)[:, ::-1], axis=1)[:, ::-1]
        previous = np.pad(previous, ((0, 0), (1, 0)), constant_values=-1)[:, first]
        following = np.pad(following, ((0, 0), (0, 1)), constant_values=n)[:, last + 1]
        left = np.where(previous >= self.bounds[sentence, 0], first - previous, _FAR)
        right = np.where(following < self.bounds[sentence, 1], following - last, _FAR)
        return np.minimum(left, _FAR), np.minimum(right, _FAR)

    def _of_head(self, first: np.ndarray, last: np.ndarray, sentence: np.ndarray) -> dict[str, np.ndarray]:
        head, unit = self.question.head, self.question.unit
        forms = [f.lower() for p in self.prepared for f in p.view.forms]
        is_head = np.array([len(f) > 0 and (f == head or (len(f) > 1 and head.endswith(f))) for f in forms]) if head else np.zeros(len(forms), dtype=bool)
        is_unit = np.array([f == unit for f in forms]) if unit else np.zeros(len(forms), dtype=bool)
        left, right = self._distances(is_head[None], first, last, sentence)
        heads = np.concatenate([[0], np.cumsum(is_head)])
        units = np.concatenate([[0], np.cumsum(is_unit)])
        end = len(forms) - 1
        return {
            "head_inside": heads[last + 1] > heads[first],
            "head_ends": is_head[last],
            "head_before": is_head[np.maximum(first - 1, 0)],
            "head_after": is_head[np.minimum(last + 1, end)] | is_head[np.minimum(last + 2, end)],
            "head_distance": np.minimum(left, right)[0],
            "head_in_sentence": heads[self.bounds[sentence, 1]] > heads[self.bounds[sentence, 0]],
            "unit_is": is_unit[last],
            "unit_inside": units[last + 1] > units[first],
        }

    def _of_bigrams(self, start: np.ndarray, end: np.ndarray, sentence: np.ndarray) -> dict[str, np.ndarray]:
        asked = np.unique(_bigrams(_codes(self.question.text)))
        codes = _codes("\n".join(p.view.passage.text for p in self.prepared) + "\n ")
        found = np.isin(_bigrams(codes), asked[asked > 0])
        total = np.concatenate([[0], np.cumsum(found)])
        n = len(total) - 1
        character_at = np.concatenate(
            [p.view.starts + b for p, b in zip(self.prepared, self.char_base, strict=False)] + [[n]]
        )
        from_, to = character_at[self.bounds[:, 0]], character_at[np.maximum(self.bounds[:, 1] - 1, 0)]
        count = lambda a, b: total[np.clip(b, 0, n)] - total[np.clip(a, 0, n)]  # noqa: E731
        head = np.unique(_bigrams(_codes(self.question.head)))
        in_head = np.concatenate([[0], np.cumsum(np.isin(_bigrams(codes), head[head > 0]))])
        return {
            "bigrams_in_sentence": count(from_, to)[sentence],
            "bigrams_left": count(np.maximum(start - 20, from_[sentence]), start - 1),
            "bigrams_right": count(end, np.minimum(end + 20, to[sentence])),
            "bigrams_inside": count(start, end - 1) / np.maximum(end - start - 1, 1),
            "bigrams_head": in_head[np.clip(end - 1, 0, n)] - in_head[np.clip(start, 0, n)],
        }

    def _of_mentions(
        self, hit_ids: np.ndarray, sentence: np.ndarray, surfaces: list[str]
    ) -> dict[str, np.ndarray]:
        mentions = Counter(surfaces)
        in_hits = Counter(s for s, _ in set(zip(surfaces, hit_ids.tolist(), strict=True)))
        best: dict[str, float] = {}
        for surface, score in zip(surfaces, self.promise[sentence].tolist(), strict=True):
            if score > best.get(surface, -1.0):
                best[surface] = score
        asked = self.question.text.replace(" ", "").lower()
        inside = {s: s.lower() in asked for s in mentions}
        particle = _FOLLOWING.get(self.question.particle, 0)
        return {
            "n_mentions": np.array([mentions[s] for s in surfaces]),
            "n_hits": np.array([in_hits[s] for s in surfaces]),
            "best_sentence_of_text": np.array([best[s] for s in surfaces]) - self.promise[sentence],
            "surface_in_question": np.array([inside[s] for s in surfaces]),
            "particle_same": np.full(len(surfaces), particle),
        }

    def _of_kind(self, hit_ids: np.ndarray, span_ids: np.ndarray) -> dict[str, np.ndarray]:
        question = self.question
        noun = question.head or {ASKS["who"]: "누구", ASKS["where"]: "어디"}.get(question.ask, "")
        vector = self.kinds.kind_vector(noun) if noun else None
        flat = self.flat_span(hit_ids, span_ids)
        names = np.concatenate([p.names for p in self.prepared])[flat]
        units = np.concatenate([p.static[:, STATIC_NAMES.index("unit_kind")] for p in self.prepared])[flat]
        asked = _DATE_ASKED.get(question.unit or question.head, 3 if question.ask == ASKS["when"] else 0)
        return {
            "kind_score": names @ vector if vector is not None else np.zeros(len(flat)),
            "kind_known": np.full(len(flat), vector is not None),
            "date_asked": np.full(len(flat), asked),
            "unit_same": units == _UNIT_KINDS.get(question.unit, -1),
        }

    def _of_verb(self, first: np.ndarray, last: np.ndarray, sentence: np.ndarray) -> dict[str, np.ndarray]:
        """Look at the first predicate after each span: is it one of the question, is it the question's own?"""
        n = len(self.tags)
        stem = np.isin(self.tags, [TAG["VV"], TAG["VA"]])
        made = np.isin(self.tags, [TAG["XSV"], TAG["XSA"]])
        stem[:-1] |= made[1:]
        following = np.minimum.accumulate(np.where(stem, np.arange(n), n)[::-1])[::-1]
        verb = np.append(following, n)[last + 1]
        in_sentence = verb < self.bounds[sentence, 1]
        asked = np.append(self.match.any(axis=0), False)
        terms = self.question.terms
        own = self.match[terms.index(self.question.verb)] if self.question.verb in terms else np.zeros(n, dtype=bool)
        stems = np.concatenate([[0], np.cumsum(stem)])
        nearest = self._distances(own[None], first, last, sentence)[1][0]
        own_at = np.minimum(last + nearest, n).astype(np.int64)
        return {
            "next_verb_asked": np.where(in_sentence, asked[verb], False),
            "next_verb_is": np.where(in_sentence, np.append(own, False)[verb], False),
            "verb_between": np.where(nearest < _FAR, stems[own_at] - stems[last + 1], 20),
        }
