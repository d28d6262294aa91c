"""The two baselines: the extractive reader on encoders of several families, and the generating reader of single passages."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizer,
    CanineConfig,
    CanineForQuestionAnswering,
    CanineTokenizer,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    ElectraConfig,
    ElectraForQuestionAnswering,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    XLMRobertaConfig,
    XLMRobertaForQuestionAnswering,
    XLMRobertaTokenizer,
)

from kofid.errors import InputError, UsageError
from kofid.korean.answer_match import find_answer, has_answer
from kofid.reader.extractive.reader import ExtractiveReader, Scores, Spans, normalize, score_spans
from kofid.reader.extractive.windows import cut_windows
from kofid.reader.fid.generation import Decoded
from kofid.reader.fid.inputs import format_input
from kofid.reader.fid.reader import FiDReader
from kofid.reader.fid.single import SingleReader, cut_passage
from kofid.training.extractive import (
    draw_windows,
    extractive_batch,
    fit_extractive,
    fresh_extractive,
    label_windows,
    normalized_loss,
)
from kofid.training.fid import fresh_reader
from kofid.training.options import FreshModel, TrainOptions
from kofid.training.single import fit_single, one_passage_examples
from kofid.training.tokenizers import train_tokenizer, train_wordpiece
from kofid.types import Example, Hit, Passage, Question

_MAKERS = [
    ("가온", "다리"), ("한결", "거울"), ("다솜", "우산"), ("라온", "지도"), ("은별", "시계"), ("가람", "종이"),
    ("새봄", "나침반"), ("아람", "물레"), ("해든", "화살"), ("차돌", "등불"), ("카람", "항아리"), ("로운", "비단"),
]  # fmt: skip
PASSAGES = [Passage(f"p{i}", thing, f"{thing}은(는) {name}이 만들었다.") for i, (name, thing) in enumerate(_MAKERS)]
EXAMPLES = [
    Example(
        Question(f"{thing}을(를) 만든 사람은?", id=f"q{i}", answers=(name,), positive_ids=(f"p{i}",)),
        (Hit(PASSAGES[i], 2.0), Hit(PASSAGES[(i + 1) % len(PASSAGES)], 1.0)),
    )
    for i, (name, thing) in enumerate(_MAKERS)
]
TEXTS = [
    *(p.text for p in PASSAGES),
    *(e.question.text for e in EXAMPLES),
    "훈민정음은 세종이 만들었다. 백성을 가르치는 바른 소리라는 뜻이다.",
    "임진왜란은 1592년에 일어났다. 이순신은 거북선을 이끌고 바다에서 이겼다.",
    "한강은 서울을 가로질러 서해로 흐른다. 소설 《무정》은 1917년에 나왔다.",
]
FILLER = "한강은 서울을 가로질러 서해로 흐른다. 백성을 가르치는 바른 소리라는 뜻이다. "
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
CPU = TrainOptions(device="cpu", weight_decay=0.0)


def hits(*texts: str) -> list[Hit]:
    return [Hit(Passage(f"h{i}", f"제목 {i}", text), float(len(texts) - i)) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def wordpiece() -> BertTokenizer:
    return train_wordpiece(TEXTS, 800)


# --- where an answer stands in a text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("이순신은 이순신함이 아니라 이순신이다", "이순신", ["이순신", "이순신"]),
        ("소나무가 있다", "나무", []),
        ("그는 1592 년에 왔다", "1592년", ["1592 년"]),
        ("인구는 1,592명이다. 모두 1592명", "1592명", ["1,592명", "1592명"]),
        ("Ⅻ세기에 5㎞ 떨어진 《무정》을 읽었다", "무정", ["무정"]),
        ("Ⅻ세기에 5㎞ 떨어진 《무정》을 읽었다", "《무정》", ["《무정》"]),
        ("Ⅻ세기에 5㎞ 떨어진 《무정》을 읽었다", "5km", ["5㎞"]),
        ("Caffè에서", "caffè", ["Caffè"]),
        ("없다", "", []),
    ],
)
def test_find_answer_gives_places_in_the_text_itself(text: str, answer: str, expected: list[str]) -> None:
    places = find_answer(text, answer)
    assert [text[start:end] for start, end in places] == expected
    assert bool(places) == has_answer(text, (answer,))


def test_find_answer_in_decomposed_text() -> None:
    text = unicodedata.normalize("NFD", "그는 이순신을 만났다")
    ((start, end),) = find_answer(text, "이순신")
    assert unicodedata.normalize("NFC", text[start:end]) == "이순신"


# --- the tokenizer --------------------------------------------------------------------------------------------


def test_wordpiece_ends_where_particles_begin(wordpiece: BertTokenizer) -> None:
    assert wordpiece.tokenize("세종이 가온은") == ["세종", "##이", "가온", "##은"]
    assert wordpiece.unk_token_id not in wordpiece(TEXTS[0])["input_ids"]
    assert wordpiece.get_vocab() == train_wordpiece(TEXTS, 800).get_vocab()


# --- scores by hand and against a slow twin -------------------------------------------------------------------


def test_probabilities_over_two_windows_by_hand() -> None:
    # Window 1 has spans of scores log 6 and log 2 and "no answer" log 1; window 2 a span of log 3 and "no answer" log 4.
    scores = [
        Scores(math.log(1), math.log(8), [(math.log(6), 1, 1), (math.log(2), 1, 2)]),
        Scores(math.log(4), math.log(3), [(math.log(3), 1, 1)]),
    ]
    # shared: all weights together are 6 + 2 + 1 + 3 + 4 = 16.
    shares, none = normalize(scores, "shared")
    assert shares == [pytest.approx([6 / 16, 2 / 16]), pytest.approx([3 / 16])]
    assert none == pytest.approx(5 / 16)
    # window: odds against the own "no answer" 6/1, 2/1 and 3/4, and 1 for none: together 9.75.
    shares, none = normalize(scores, "window")
    assert shares == [pytest.approx([6 / 9.75, 2 / 9.75]), pytest.approx([0.75 / 9.75])]
    assert none == pytest.approx(1 / 9.75)


def test_window_norm_is_the_chance_that_one_window_answers_and_the_others_do_not() -> None:
    # Each window's own softmax: P1(a) = 6/9, P1(b) = 2/9, P1(none) = 1/9; P2(c) = 3/7, P2(none) = 4/7. Of the four cases
    # with one answer at most, a: 6/9 4/7 = 24/63, b: 8/63, c: 1/9 3/7 = 3/63, none: 4/63, together 39/63.
    scores = [
        Scores(math.log(1), math.log(8), [(math.log(6), 1, 1), (math.log(2), 1, 2)]),
        Scores(math.log(4), math.log(3), [(math.log(3), 1, 1)]),
    ]
    shares, none = normalize(scores, "window")
    assert [*shares[0], *shares[1], none] == pytest.approx([24 / 39, 8 / 39, 3 / 39, 4 / 39])


@pytest.mark.parametrize("longest", [1, 3, 50])
def test_span_scores_equal_two_loops(longest: int) -> None:
    torch.manual_seed(3)
    n_windows, n_tokens = 4, 9
    starts, ends = torch.randn(n_windows, n_tokens), torch.randn(n_windows, n_tokens)
    inside = torch.rand(n_windows, n_tokens) < 0.7
    inside[:, 0] = False
    found = score_spans(starts, ends, inside, [0] * n_windows, longest, n_best=200)
    for w, scores in enumerate(found):
        slow = [
            ((starts[w, s] + ends[w, e]).item(), s, e)
            for s in range(n_tokens)
            for e in range(s, min(s + longest, n_tokens))
            if inside[w, s] and inside[w, e]
        ]
        slow.sort(reverse=True)
        assert [(s, e) for _, s, e in scores.best] == [(s, e) for _, s, e in slow]
        assert [v for v, _, _ in scores.best] == pytest.approx([v for v, _, _ in slow])
        assert scores.total == pytest.approx(math.log(sum(math.exp(v) for v, _, _ in slow)), abs=1e-5)
        assert scores.none == pytest.approx((starts[w, 0] + ends[w, 0]).item())


def test_loss_by_hand() -> None:
    # Two windows of one question, weights (exp of logits): [1, 2, 5 (not allowed)] and [4, 3, 6]; right: the 2 and the 6.
    logits = torch.tensor([[1.0, 2, 5], [4, 3, 6]]).log()
    allowed = torch.tensor([[True, True, False], [True, True, True]])
    right = torch.tensor([[False, True, False], [False, False, True]])
    # Together: (2 + 6) / (1 + 2 + 4 + 3 + 6) = 1/2. Apart: 2/3 and 6/13, the mean of both losses.
    assert normalized_loss(logits, right, allowed, [2]).item() == pytest.approx(math.log(2), abs=1e-6)
    apart = -(math.log(2 / 3) + math.log(6 / 13)) / 2
    assert normalized_loss(logits, right, allowed, [1, 1]).item() == pytest.approx(apart, abs=1e-6)


# --- windows --------------------------------------------------------------------------------------------------


def test_windows_overlap_and_miss_nothing(wordpiece: BertTokenizer) -> None:
    passage = Passage("p", "", FILLER * 70)
    windows = cut_windows(wordpiece, "한강은 어디로 흐르나?", [passage], 96, 24)
    assert len(passage.text) > 3000
    assert max(len(window.ids) for window in windows) == 96
    spots = [offset for window in windows for offset in window.offsets]
    whole = wordpiece(passage.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert set(spots) == set(whole)
    for before, after in zip(windows, windows[1:], strict=False):
        assert before.offsets[-24:] == after.offsets[:24]


def test_tokens_that_hold_a_space_are_trimmed() -> None:
    """SentencePiece's ▁세종 stands for the space as well."""
    words = ["<s>", "</s>", "<unk>", "▁", "▁세종", "▁훈민정음", "은", "이", "을", "▁서울", "?"]
    learned = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=2))
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    learned.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned, cls_token="<s>", unk_token="<unk>")
    text = "훈민정음은 세종이   서울을 "
    (given,) = tokenizer([text], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert any(text[a:b].startswith(" ") and text[a:b].strip() for a, b in given)
    (window,) = cut_windows(tokenizer, "세종은?", [Passage("p", "", text)], 64, 16)
    assert [text[a:b] for a, b in window.offsets if a < b] == ["훈민정음", "은", "세종", "이", "서울", "을"]
    spot = window.tokens(6, 8)
    assert spot is not None and window.characters(*spot) == (6, 8)


def test_a_long_question_leaves_room_and_blank_passages_make_no_windows(wordpiece: BertTokenizer) -> None:
    passages = [Passage("a", "", "세종이 만들었다."), Passage("b", "", " \n "), Passage("c", "", "")]
    windows = cut_windows(wordpiece, FILLER * 50, passages, 64, 128)
    assert {window.passage for window in windows} == {0}
    assert max(len(window.ids) for window in windows) <= 64
    with pytest.raises(UsageError):
        cut_windows(wordpiece, "누가?", passages, 3, 0)


# --- a model that knows the answer ----------------------------------------------------------------------------


class Oracle(torch.nn.Module):
    """Marks each place of ``answers``' tokens with their logits; where there is none, "no answer" with ``nothing``."""

    def __init__(self, tokenizer: BertTokenizer, answers: dict[str, float], nothing: float = 9.0) -> None:
        super().__init__()
        self.config = BertConfig(**SHAPE)
        self.device = torch.device("cpu")
        self.answers = [(tokenizer(a, add_special_tokens=False)["input_ids"], logit) for a, logit in answers.items()]
        self.nothing = nothing

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> SimpleNamespace:
        starts, ends = torch.full(input_ids.shape, -9.0), torch.full(input_ids.shape, -9.0)
        for row, ids in enumerate(input_ids.tolist()):
            for answer, logit in self.answers:
                for i in range(len(ids) - len(answer) + 1):
                    if ids[i : i + len(answer)] == answer and token_type_ids[row, i]:
                        starts[row, i], ends[row, i + len(answer) - 1] = logit, logit
            if starts[row].max() < 0:
                starts[row, 0] = ends[row, 0] = self.nothing
        return SimpleNamespace(start_logits=starts, end_logits=ends)


def oracle(
    tokenizer: BertTokenizer,
    answers: dict[str, float],
    nothing: float = 9.0,
    *,
    abstain: bool = False,
    n_context: int = 10,
    **spans: object,
) -> ExtractiveReader:
    settings = Spans(**{"max_tokens": 96, "stride": 24} | spans)  # type: ignore[arg-type]
    model: Any = Oracle(tokenizer, answers, nothing)
    return ExtractiveReader(model, tokenizer, settings, abstain=abstain, n_context=n_context)


@pytest.mark.parametrize("norm", ["shared", "window"])
@pytest.mark.parametrize("place", [0, 22, 45])
def test_an_answer_anywhere_in_a_long_passage_is_found(wordpiece: BertTokenizer, place: int, norm: str) -> None:
    text = FILLER * place + "훈민정음은 세종이 만들었다. " + FILLER * (70 - place)
    assert len(text) > 3000
    reader = oracle(wordpiece, {"세종": 9.0}, nothing=2.0, norm=norm)
    answers = reader.read("누가 만들었나?", hits(FILLER, text, FILLER))
    best = answers[0]
    assert best.text == "세종" and best.passage is not None and best.passage.id == "h1"
    assert text[best.start : best.end] == "세종" and best.start == text.index("세종")
    assert best.confidence > 0.9


def test_answers_of_all_passages_are_one_distribution(wordpiece: BertTokenizer) -> None:
    reader = oracle(wordpiece, {"세종": math.log(4), "이순신": math.log(3)}, nothing=math.log(2), max_answer_tokens=1)
    # Weights are squared, for start and end add up: 세종 16, 이순신 9, "no answer" of the third 4, next to nothing elsewhere.
    answers = reader.read("누가?", hits("세종이 왔다.", "이순신이 왔다.", "서울은 넓다."))
    assert [answer.text for answer in answers[:2]] == ["세종", "이순신"]
    assert answers[0].confidence == pytest.approx(16 / 29, abs=1e-3)
    assert answers[1].confidence == pytest.approx(9 / 29, abs=1e-3)
    # The same words in two passages are one answer of both weights: 16 and 9 + 9, none 4.
    answers = reader.read("누가?", hits("세종이 왔다.", "이순신이 왔다.", "서울은 넓다.", "바다에 이순신이 왔다."))
    assert answers[0].text == "이순신" and answers[0].passage is not None and answers[0].passage.id == "h1"
    assert answers[0].confidence == pytest.approx(18 / 38, abs=1e-3)


def test_a_span_that_two_windows_share_is_one_answer(wordpiece: BertTokenizer) -> None:
    text = FILLER * 2 + "훈민정음은 세종이 만들었다. " + FILLER * 3
    reader = oracle(wordpiece, {"세종": 9.0}, max_tokens=64, stride=24)
    shared = [w for w in reader.windows("누가?", [Passage("p", "", text)]) if w.tokens(*find_answer(text, "세종")[0])]
    assert len(shared) == 2
    answers = reader.read("누가?", hits(text))
    assert [answer.text for answer in answers].count("세종") == 1
    assert 0 < sum(answer.confidence for answer in answers) <= 1 + 1e-9


def test_no_answer_takes_its_share_and_can_silence_the_reader(wordpiece: BertTokenizer) -> None:
    texts = ("한강은 서울을 가로질러 흐른다.", "거북선을 이끌고 이겼다.")
    assert oracle(wordpiece, {"세종": 9.0}).read("누가?", hits(*texts))[0].confidence < 1e-6
    assert oracle(wordpiece, {"세종": 9.0}, abstain=True).read("누가?", hits(*texts)) == []
    found = oracle(wordpiece, {"세종": 9.0}, nothing=2.0, abstain=True).read("누가?", hits(*texts, "세종이 왔다."))
    assert found[0].text == "세종"


def test_spans_are_no_longer_than_allowed_and_within_the_passage(wordpiece: BertTokenizer) -> None:
    reader = oracle(wordpiece, {"세종": 5.0}, max_answer_tokens=3)
    text = "훈민정음은 세종이 만들었다. 백성을 가르치는 바른 소리라는 뜻이다."
    for answer in reader.read("세종은 누구?", hits(text)):
        assert len(wordpiece.tokenize(answer.text)) <= 3
        assert answer.text in text


def test_nothing_to_read(wordpiece: BertTokenizer) -> None:
    reader = oracle(wordpiece, {"세종": 9.0})
    assert reader.read("누가?", []) == []
    assert reader.read("  ", hits("세종이 왔다.")) == []
    assert reader.read("누가?", hits("", "  ")) == []
    assert reader.read("누가?", hits("…!?", "--")) == []  # no letters, no answer


def test_only_the_first_passages_are_read(wordpiece: BertTokenizer) -> None:
    reader = oracle(wordpiece, {"세종": 9.0}, n_context=1)
    answers = reader.read("누가?", hits("서울은 넓다.", "세종이 왔다."))
    assert {answer.passage.id for answer in answers if answer.passage} == {"h0"}


# --- real checkpoints -----------------------------------------------------------------------------------------


def bert_words(directory: Path, model: PreTrainedModel, tokenizer: BertTokenizer) -> None:
    """Write a checkpoint as klue and KoELECTRA have theirs: weights, vocab.txt and a line on the tokenizer."""
    model.save_pretrained(directory)
    words = sorted(tokenizer.get_vocab().items(), key=lambda word: word[1])
    (directory / "vocab.txt").write_text("".join(word + "\n" for word, _ in words), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": False}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))


def klue_roberta(directory: Path, tokenizer: BertTokenizer) -> None:
    config = RobertaConfig(
        vocab_size=len(tokenizer), type_vocab_size=1, max_position_embeddings=130, pad_token_id=1, **SHAPE
    )
    bert_words(directory, RobertaForQuestionAnswering(config), tokenizer)


def electra(directory: Path, tokenizer: BertTokenizer) -> None:
    config = ElectraConfig(vocab_size=len(tokenizer), embedding_size=24, max_position_embeddings=128, **SHAPE)
    bert_words(directory, ElectraForQuestionAnswering(config), tokenizer)


def bert(directory: Path, tokenizer: BertTokenizer) -> None:
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=128, **SHAPE)
    bert_words(directory, BertForQuestionAnswering(config), tokenizer)


def distilbert(directory: Path, tokenizer: BertTokenizer) -> None:
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, hidden_dim=48, n_layers=2, n_heads=2, max_position_embeddings=128
    )
    bert_words(directory, DistilBertForQuestionAnswering(config), tokenizer)


def xlm_roberta(directory: Path, _: BertTokenizer) -> None:
    pieces = train_tokenizer(TEXTS, 300).get_vocab()
    words = [piece for piece, _ in sorted(pieces.items(), key=lambda piece: piece[1])][3:]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=[*special, *((word, -1.0 - i / 100) for i, word in enumerate(words))])
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), type_vocab_size=1, max_position_embeddings=130, pad_token_id=1, **SHAPE
    )
    XLMRobertaForQuestionAnswering(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


FAMILIES = [klue_roberta, electra, bert, distilbert, xlm_roberta]
ODD = "《무정》은  1917년에 나왔다.\n漢江은 서울을 가로지른다 (Han River, 494㎞). 임진왜란은 1592 년에 일어났다… 🙂 끝"


@pytest.mark.parametrize("write", FAMILIES)
def test_answers_are_pieces_of_the_passage_as_it_is(
    tmp_path: Path, wordpiece: BertTokenizer, write: Callable[[Path, BertTokenizer], None]
) -> None:
    torch.manual_seed(11)
    write(tmp_path / "model", wordpiece)
    reader = ExtractiveReader.load(str(tmp_path / "model"), n_context=4)
    given = hits(ODD, FILLER * 70, TEXTS[-2], ODD + FILLER)
    assert len(reader.windows("어디로 흐르나?", [given[1].passage])) > 3  # cut at what the model has positions for
    answers = reader.read("한강은 어디로 흐르나?", given)
    assert len(answers) == 5
    for answer in answers:
        assert answer.passage in [hit.passage for hit in given]
        assert answer.passage is not None and answer.text == answer.passage.text[answer.start : answer.end]
        assert answer.text == answer.text.strip() != ""
        assert unicodedata.is_normalized("NFC", answer.text)
        assert 0 < answer.confidence <= 1
    confidences = [answer.confidence for answer in answers]
    assert confidences == sorted(confidences, reverse=True) and sum(confidences) <= 1 + 1e-9

    reader.save(tmp_path / "again")
    assert ExtractiveReader.load(str(tmp_path / "again"), n_context=4).read("한강은 어디로 흐르나?", given) == answers
    single = ExtractiveReader(reader.model, reader.tokenizer, reader.spans, n_context=4, batch_size=1)
    apart = single.read("한강은 어디로 흐르나?", given)
    assert [a.text for a in apart] == [a.text for a in answers]
    assert [a.confidence for a in apart] == pytest.approx(confidences, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("gives_types", [False, True])
def test_token_types_are_fed_where_the_tokenizer_gives_them(
    tmp_path: Path, wordpiece: BertTokenizer, gives_types: bool
) -> None:
    """Against a loop of plain Transformers calls: a RoBERTa with two types, its tokenizer with or without them."""
    torch.manual_seed(5)
    config = RobertaConfig(
        vocab_size=len(wordpiece), type_vocab_size=2, max_position_embeddings=130, pad_token_id=1, **SHAPE
    )
    model = RobertaForQuestionAnswering(config)
    model.roberta.embeddings.token_type_embeddings.weight.normal_(std=2.0)  # types matter
    for weight in (model.qa_outputs.weight, model.roberta.embeddings.word_embeddings.weight):
        weight.normal_(std=1.0)
    bert_words(tmp_path, model, wordpiece)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    names = ["input_ids", *(["token_type_ids"] if gives_types else []), "attention_mask"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"model_input_names": names}))
    reader = ExtractiveReader.load(str(tmp_path))
    plain, words = RobertaForQuestionAnswering.from_pretrained(tmp_path).eval(), reader.tokenizer
    for example in EXAMPLES:
        question, text = example.question.text, example.hits[0].passage.text
        inputs = words(question, text, return_tensors="pt")
        assert ("token_type_ids" in inputs) == gives_types
        output = plain(**inputs)
        offsets = words(question, text, return_offsets_mapping=True)
        inside = [i for i, part in enumerate(offsets.sequence_ids()) if part == 1]
        starts, ends = output.start_logits[0], output.end_logits[0]
        pairs = [(i, j) for i in inside for j in inside if i <= j < i + reader.spans.max_answer_tokens]
        spans = {(i, j): float(starts[i] + ends[j]) for i, j in pairs}
        windows = reader.windows(question, [example.hits[0].passage])
        (scores,) = reader._score(windows)
        found = {(i, j): value for value, i, j in scores.best}
        assert found == pytest.approx({pair: spans[pair] for pair in found}, abs=1e-4)
        assert max(found, key=found.__getitem__) == max(spans, key=spans.__getitem__)
        batch, _ = reader.batch(windows)
        assert ("token_type_ids" in batch) == gives_types


def test_settings_are_kept(tmp_path: Path) -> None:
    reader = fresh_extractive("tiny", TEXTS, Spans(64, 16, 7, "window"), vocab_size=300)
    (tmp_path / "model").mkdir()
    reader.save(tmp_path / "model")
    assert ExtractiveReader.load(str(tmp_path / "model")).spans == Spans(64, 16, 7, "window")
    assert ExtractiveReader.load(str(tmp_path / "model"), spans=Spans()).spans == Spans()


def test_a_slow_tokenizer_is_refused(tmp_path: Path, english: None) -> None:
    config = CanineConfig(num_hash_buckets=64, **SHAPE)
    CanineForQuestionAnswering(config).save_pretrained(tmp_path)
    CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot tell where its tokens stand"):
        ExtractiveReader.load(str(tmp_path))


def test_a_tokenizer_without_cls_is_refused(wordpiece: BertTokenizer, english: None) -> None:
    with pytest.raises(InputError, match="makes no CLS token"):
        ExtractiveReader(Oracle(wordpiece, {}), train_tokenizer(TEXTS, 300))  # type: ignore[arg-type]


def test_a_model_without_output_layer_is_for_training_only(
    tmp_path: Path, wordpiece: BertTokenizer, english: None
) -> None:
    config = RobertaConfig(vocab_size=len(wordpiece), type_vocab_size=1, **SHAPE)
    bert_words(tmp_path, RobertaForMaskedLM(config), wordpiece)
    with pytest.raises(InputError, match="never learned to mark answers"):
        ExtractiveReader.load(str(tmp_path))
    first, second = (ExtractiveReader.load(str(tmp_path), new_head=True, seed=4) for _ in range(2))
    assert torch.equal(first.model.qa_outputs.weight, second.model.qa_outputs.weight)


def test_broken_settings_are_refused_and_half_weights_made_whole(tmp_path: Path, wordpiece: BertTokenizer) -> None:
    bert(tmp_path, wordpiece)
    BertForQuestionAnswering.from_pretrained(tmp_path).half().save_pretrained(tmp_path)
    assert ExtractiveReader.load(str(tmp_path)).model.dtype == torch.float32
    for broken in ("{", '{"depth": 3}', '{"norm": "none"}', '{"max_tokens": "many"}'):
        (tmp_path / "extractive.json").write_text(broken)
        with pytest.raises(InputError):
            ExtractiveReader.load(str(tmp_path))


def test_pickled_and_broken_weights_are_refused(tmp_path: Path, wordpiece: BertTokenizer) -> None:
    bert(tmp_path, wordpiece)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError):
        ExtractiveReader.load(str(tmp_path))
    weights.unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError):
        ExtractiveReader.load(str(tmp_path))


# --- training -------------------------------------------------------------------------------------------------


def test_labels_of_windows(wordpiece: BertTokenizer) -> None:
    reader = oracle(wordpiece, {})
    row = {
        "question": "누가 만들었나?",
        "targets": ["세종"],
        "titles": ["", "", ""],
        "texts": ["훈민정음은 세종이 만들었다. 세종이 왔다.", "세종은 서울에 왔다.", "이순신은 바다에서 이겼다."],
        "positive": [True, False, False],
    }
    labelled = label_windows(reader, row)
    # The second passage says the answer but is not gold: neither right nor wrong.
    assert [window.passage for window, _ in labelled] == [0, 2]
    window, spot = labelled[0]
    assert spot is not None and window.characters(*spot) == (6, 8)
    assert labelled[1][1] is None
    # Nothing gold has it: the second counts as right.
    labelled = label_windows(reader, row | {"texts": ["한강은 흐른다.", *row["texts"][1:]]})  # type: ignore[misc]
    assert [spot is not None for _, spot in labelled] == [False, True, False]
    # A gold answer may stand inside a word.
    labelled = label_windows(reader, row | {"targets": ["만들었"], "texts": row["texts"]})
    assert labelled[0][1] is not None


def test_batches_mark_answers_and_no_answers(wordpiece: BertTokenizer) -> None:
    row = {
        "question": "누가?",
        "targets": ["세종"],
        "titles": ["", ""],
        "texts": ["세종이 왔다.", "서울은 넓다."],
        "positive": [True, False],
    }
    nowhere = row | {"texts": ["한강은 흐른다.", "서울은 넓다."]}
    shared = extractive_batch(oracle(wordpiece, {}), [row, nowhere])
    apart = extractive_batch(oracle(wordpiece, {}, norm="window"), [row, nowhere])
    assert shared["sizes"].tolist() == apart["sizes"].tolist() == [2, 2]
    assert shared["answered"].tolist() == apart["answered"].tolist() == [True, False, False, False]
    # Shared: a question with an answer has no other right place; one without has all its "no answers".
    assert [flags.nonzero()[:, 0].tolist() for flags in shared["starts"]][1:] == [[], [0], [0]]
    assert [flags.nonzero()[:, 0].tolist() for flags in apart["starts"]][1:] == [[0], [0], [0]]
    (first,), (last,) = (shared[side][0].nonzero()[:, 0].tolist() for side in ("starts", "ends"))
    assert wordpiece.decode(shared["inputs"]["input_ids"][0, first : last + 1]) == "세종"
    # Tokens of the question are no place for an answer.
    assert not shared["allowed"][:, 1].any() and shared["allowed"][:, 0].all()


def test_windows_with_the_answer_are_drawn_first() -> None:
    answered = [False, True, *[False] * 5, True, False]
    torch.manual_seed(0)
    drawn = [draw_windows([2, 6, 1], answered, 3) for _ in range(20)]
    assert {tuple(counts) for _, counts in drawn} == {(2, 3, 1)}
    assert all(rows[:2] == [0, 1] and 7 in rows[2:5] and rows[5] == 8 for rows, _ in drawn)
    assert all(rows == sorted(set(rows)) for rows, _ in drawn)
    assert {row for rows, _ in drawn for row in rows[2:5]} == {2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize("norm", ["shared", "window"])
def test_a_fresh_reader_learns(tmp_path: Path, norm: str) -> None:
    reader = fresh_extractive("tiny", TEXTS, Spans(norm=norm), vocab_size=800)  # type: ignore[arg-type]
    options = TrainOptions(device="cpu", weight_decay=0.0, max_steps=80, batch_size=12, learning_rate=3e-3)
    losses: list[float] = []
    figures = fit_extractive(
        reader, EXAMPLES, options, tmp_path / "checkpoints", on_step=lambda step, steps, loss: losses.append(loss)
    )
    assert figures["steps"] == 80 and losses[-1] < losses[0] / 5
    read = [reader.read(example.question.text, example.hits)[0] for example in EXAMPLES]
    right = [
        answer.text == example.question.answers[0] and answer.passage == example.hits[0].passage
        for answer, example in zip(read, EXAMPLES, strict=True)
    ]
    assert sum(right) >= 10
    (tmp_path / "model").mkdir()
    reader.save(tmp_path / "model")
    again = ExtractiveReader.load(str(tmp_path / "model"))
    assert [again.read(e.question.text, e.hits)[0] for e in EXAMPLES] == read


def test_a_checkpoint_of_two_families_trains_a_step(tmp_path: Path, wordpiece: BertTokenizer) -> None:
    klue_roberta(tmp_path / "model", wordpiece)
    reader = ExtractiveReader.load(str(tmp_path / "model"))
    before = reader.model.qa_outputs.weight.clone()
    options = TrainOptions(device="cpu", max_steps=2, batch_size=4, learning_rate=1e-3)
    fit_extractive(reader, EXAMPLES, options, tmp_path / "checkpoints", n_context=2)
    assert not torch.equal(reader.model.qa_outputs.weight, before)


def test_training_is_repeated_and_resumed_alike(tmp_path: Path) -> None:
    def trained(name: str, *, stop: bool = False) -> torch.Tensor:
        options = TrainOptions(
            device="cpu", max_steps=6, batch_size=2, learning_rate=1e-3, save_steps=3, weight_decay=0.0
        )

        class Stop(Exception):
            pass

        def halt(step: int, steps: int, loss: float) -> None:
            if step == 5:
                raise Stop

        longer = [Example(e.question, tuple(Hit(p, 0.0) for p in PASSAGES[:6]) + e.hits) for e in EXAMPLES]
        how = {"n_context": 8, "n_windows": 3}
        if stop:
            reader = fresh_extractive("tiny", TEXTS, vocab_size=300)
            with pytest.raises(Stop):
                fit_extractive(reader, longer, options, tmp_path / name, on_step=halt, **how)  # type: ignore[arg-type]
        reader = fresh_extractive("tiny", TEXTS, vocab_size=300)
        fit_extractive(reader, longer, options, tmp_path / name, resume=stop, **how)  # type: ignore[arg-type]
        return torch.cat([weight.flatten() for weight in reader.model.state_dict().values()])

    whole = trained("a")
    assert torch.equal(trained("b"), whole)
    assert torch.equal(trained("c", stop=True), whole)


def test_nothing_to_learn_and_unknown_sizes(tmp_path: Path) -> None:
    reader = fresh_extractive("tiny", TEXTS, vocab_size=300)
    blank = [Example(Question("누가?", answers=("세종",)), (Hit(Passage("a", "", "  "), 1.0),))]
    with pytest.raises(InputError):
        fit_extractive(reader, blank, CPU, tmp_path / "checkpoints")
    with pytest.raises(UsageError):
        fresh_extractive("huge", TEXTS)


# --- the reader of single passages ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generating() -> FiDReader:
    return fresh_reader("tiny", TEXTS, fresh=FreshModel(vocab_size=300)).with_options(max_tokens=64)


@pytest.mark.parametrize("tail", ["", *("가 나 다 라 마 바 사 아"[: 2 * n + 1] for n in range(8)), "x" * 300])
def test_pieces_fit_overlap_and_miss_nothing(generating: FiDReader, tail: str) -> None:
    passage = Passage("p", "제목", FILLER * 20 + tail)
    pieces = cut_passage(generating.tokenizer, "어디로 흐르나?", passage, 64)
    assert len(pieces) > 10 and cut_passage(generating.tokenizer, "?", PASSAGES[0], 64) == [(0, PASSAGES[0])]
    covered = 0
    for start, piece in pieces:
        assert passage.text[start : start + len(piece.text)] == piece.text
        assert (piece.id, piece.title) == ("p", "제목")
        assert len(generating.tokenizer(format_input("어디로 흐르나?", piece))["input_ids"]) <= 66
        assert passage.text[covered:start].strip() == ""  # no gap
        covered = start + len(piece.text)
    assert covered == len(passage.text.rstrip())
    (first, one), (second, _) = pieces[:2]
    assert first < second < first + len(one.text)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> SingleReader:
    reader = SingleReader(fresh_reader("tiny", TEXTS, fresh=FreshModel(vocab_size=300)))
    options = TrainOptions(
        device="cpu", weight_decay=0.0, max_steps=120, batch_size=12, learning_rate=0.02, optimizer="adafactor"
    )
    figures = fit_single(reader, EXAMPLES, options, tmp_path_factory.mktemp("single") / "checkpoints")
    assert figures["steps"] == 120
    return reader


def test_a_single_reader_learns_and_is_kept(tmp_path: Path, learned: SingleReader) -> None:
    read = [learned.read(example.question.text, example.hits[:1])[0] for example in EXAMPLES]
    right = [answer.text == example.question.answers[0] for answer, example in zip(read, EXAMPLES, strict=True)]
    assert sum(right) >= 10
    for answer in (a for a, good in zip(read, right, strict=True) if good):
        assert answer.passage is not None and answer.passage.text[answer.start : answer.end] == answer.text
    learned.save(tmp_path / "model")
    again = SingleReader.load(str(tmp_path / "model"), n_context=10)
    assert [again.read(e.question.text, e.hits[:1])[0] for e in EXAMPLES] == read


def test_reading_passages_together_equals_reading_them_one_by_one(learned: SingleReader) -> None:
    given = hits(*(p.text for p in PASSAGES[:4]))
    question = "다리을(를) 만든 사람은?"
    model, tokenizer = learned.reader.model, learned.reader.tokenizer
    alone = FiDReader(model, tokenizer, n_context=1, max_tokens=learned.reader.max_tokens)
    singles = {answer.text for hit in given for answer in alone.read(question, [hit])}
    answers = learned.read(question, given)
    assert {answer.text for answer in answers} == singles and len(singles) > 1
    confidences = [answer.confidence for answer in answers]
    assert confidences == sorted(confidences, reverse=True) and all(0 < c <= 1 for c in confidences)
    apart = [answer for hit in given for answer in learned.read(question, [hit])]
    assert max(apart, key=lambda answer: answer.confidence).text == answers[0].text
    assert learned.read("누가?", []) == [] and learned.read(" ", given) == []


def test_an_answer_in_a_long_passage_is_read_in_its_piece(
    learned: SingleReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {word: learned.reader.tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("이순신", "세종")}

    def copied(question: str, pieces: Sequence[Passage]) -> list[Decoded]:
        seen = [("이순신", -0.1) if "거북선" in piece.text else ("세종", -2.0) for piece in pieces]
        return [Decoded(words[word], [score]) for word, score in seen]

    monkeypatch.setattr(learned, "_generate", copied)
    text = "이순신함이 있다. " + FILLER * 35 + "거북선은 이순신이 이끌었다. " + FILLER * 35
    assert len(text) > 3000
    best, other = learned.read("누가?", hits(FILLER, text))
    assert (best.text, other.text) == ("이순신", "세종")
    assert best.passage is not None and best.passage.text == text  # the passage, not the piece
    assert best.start == text.index("이순신이") and text[best.start : best.end] == "이순신"


def test_the_confidence_is_the_mean_token_probability_weighted_with_retrieval(
    generating: FiDReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SingleReader(generating)
    words = ["세종", "이순신", "세종"]
    ids = [generating.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]

    def written(question: str, pieces: Sequence[Passage]) -> list[Decoded]:
        # The sum of log probabilities decides for 세종, their mean for 이순신: -4 / 4 = -1 against -1.5 / 1.
        found = {"하나": (ids[0], [-1.5]), "둘": (ids[1], [-1.0] * 4), "셋": (ids[2], [-2.0])}
        return [Decoded(*found[piece.text]) for piece in pieces]

    monkeypatch.setattr(reader, "_generate", written)
    given = [Hit(Passage(name, "", name), score) for name, score in (("하나", 3.0), ("둘", 1.0), ("셋", 2.0))]
    answers = reader.read("누가?", given)
    assert [(a.text, a.passage.id if a.passage else "") for a in answers] == [("이순신", "둘"), ("세종", "하나")]
    assert [a.confidence for a in answers] == pytest.approx([math.exp(-1.0), math.exp(-1.5)])
    assert answers[0].start is None  # it is not in the passage
    # With weight 1/2: 둘 has -1 + (1 - 3) / 2 = -2, 하나 -1.5 + 0.
    reader = SingleReader(generating, retrieval_weight=0.5)
    monkeypatch.setattr(reader, "_generate", written)
    answers = reader.read("누가?", given)
    assert [a.text for a in answers] == ["세종", "이순신"]
    assert [a.confidence for a in answers] == pytest.approx([math.exp(-1.5), math.exp(-2.0)])


def test_one_passage_examples_hold_the_gold_and_the_answer(generating: FiDReader) -> None:
    reader = SingleReader(generating)
    long = Passage("long", "훈민정음", FILLER * 10 + "훈민정음은 세종이 만들었다. " + FILLER * 10)
    example = Example(
        Question("누가?", answers=("세종",), positive_ids=("long",)), (Hit(PASSAGES[0], 2.0), Hit(long, 1.0))
    )
    made = list(one_passage_examples(reader, [*EXAMPLES[:2], example]))
    assert [len(e.hits) for e in made] == [1, 1, 1]
    assert [e.hits[0].passage for e in made[:2]] == PASSAGES[:2]
    piece = made[2].hits[0].passage
    assert piece.id == "long" and has_answer(piece.text, ("세종",)) and len(piece.text) < len(long.text)
