"""The reader over hits: inputs, targets, answers with their passages, pointing, tokenizers, files."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from support.twins import enliven, gpt2_config, lively, t5_config
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, T5ForConditionalGeneration, T5Tokenizer

from kofid.reader.confidence import Confidence, plain_confidence
from kofid.reader.fid import generation as generate_module
from kofid.reader.fid import passage_scores as scores_module
from kofid.reader.fid.batch import Batch
from kofid.reader.fid.config import Decoding, Variant
from kofid.reader.fid.generation import Decoded
from kofid.reader.fid.inputs import (
    encode_inputs,
    encode_targets,
    format_input,
    token_rows,
)
from kofid.reader.fid.pointing import format_target, parse_target, pointed_first
from kofid.reader.fid.reader import FiDReader
from kofid.reader.fid.weights import join, open_gpt2
from kofid.reader.tokenizers import open_tokenizer
from kofid.training.tokenizers import train_tokenizer, train_wordpiece
from kofid.types import Hit, Passage

TEXTS = [
    "훈민정음은 세종이 만들었다. 백성을 가르치는 바른 소리라는 뜻이다.",
    "임진왜란은 1592년에 일어났다. 이순신은 바다에서 이겼다.",
    "석굴암은 경주 토함산에 있다. 신라 때 김대성이 지었다.",
    "한강은 서울을 가로질러 서해로 흐른다.",
    "question: 누가 만들었나? index: 3 4 6 7 8 answer: title: 훈민정음 context: 세종",
]
PASSAGES = [
    Passage("p1", "훈민정음", "세종이 만들었다."),
    Passage("p2", "석굴암", "경주 토함산에 있다. 신라 때 김대성이 지었다."),
    Passage("p3", "한강", "서해로 흐른다."),
]


@pytest.fixture(scope="module")
def tokenizer() -> T5Tokenizer:
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def gpt2_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """Return a tokenizer as skt/ko-gpt-trinity has: byte pairs, and no end added of itself."""
    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False)
    path = tmp_path_factory.mktemp("pairs") / "tokenizer.json"
    pairs.save(str(path))
    return PreTrainedTokenizerFast(tokenizer_file=str(path), bos_token="<s>", eos_token="</s>")


def hits_of(passages: Sequence[Passage]) -> list[Hit]:
    return [Hit(passage, 5.0 - i) for i, passage in enumerate(passages)]


# --- inputs and targets ---------------------------------------------------------------------------------------


def test_input_text() -> None:
    assert format_input("누가?", PASSAGES[0]) == "question: 누가? title: 훈민정음 context: 세종이 만들었다."
    numbered = "question: 누가? index: 3 title: 훈민정음 context: 세종이 만들었다."
    assert format_input("누가?", PASSAGES[0], 3) == numbered


def test_inputs_are_cut_on_the_right_and_end_with_eos(tokenizer: T5Tokenizer) -> None:
    whole = tokenizer(format_input("어디에 있나?", PASSAGES[1]))["input_ids"]
    batch = encode_inputs(tokenizer, ["어디에 있나?"], [[PASSAGES[1]]], max_tokens=12)
    assert batch.input_ids.tolist() == [*whole[:11], tokenizer.eos_token_id]
    assert (batch.lengths, batch.n_passages) == ([12], [1])


@pytest.mark.parametrize("pointing", [False, True])
def test_passages_lie_one_after_another(tokenizer: T5Tokenizer, pointing: bool) -> None:
    questions, rows = ["누가?", "모름", "어디?"], [PASSAGES[:1], [], PASSAGES]
    batch = encode_inputs(tokenizer, questions, rows, pointing=pointing)
    assert batch.n_passages == [1, 0, 3]
    texts = [format_input("누가?", PASSAGES[0], 1 if pointing else None)]
    texts += [format_input("어디?", p, n if pointing else None) for n, p in enumerate(PASSAGES, 1)]
    parts = [part.tolist() for part in batch.input_ids.split(batch.lengths)]
    assert parts == [tokenizer(text)["input_ids"] for text in texts]
    empty = encode_inputs(tokenizer, ["모름"], [[]])
    assert (empty.input_ids.tolist(), empty.lengths, empty.n_passages) == ([], [], [0])


@pytest.mark.parametrize("max_tokens", [1, 2, 5, 12, 100])
def test_tokens_are_cut_as_transformers_cuts_them(
    tokenizer: T5Tokenizer, gpt2_tokenizer: PreTrainedTokenizerFast, max_tokens: int
) -> None:
    bert = train_wordpiece(TEXTS, 300)
    texts = ["", "세종", *TEXTS]
    for each in (tokenizer, gpt2_tokenizer, bert):
        rows = token_rows(each, texts, max_tokens)
        if max_tokens > each.num_special_tokens_to_add():
            expected = copy.deepcopy(each)(texts, truncation=True, max_length=max_tokens)["input_ids"]
            assert rows == expected
        assert each.backend_tokenizer.truncation is None  # the tokenizer is as it was
    assert token_rows(tokenizer, [], 5) == []


def test_labels_leave_padding_out(tokenizer: T5Tokenizer) -> None:
    labels = encode_targets(tokenizer, ["세종", "경주 토함산에 있다"])
    short = tokenizer("세종")["input_ids"]
    assert labels[0].tolist() == short + [-100] * (labels.shape[1] - len(short))
    assert labels[1].tolist() == tokenizer("경주 토함산에 있다")["input_ids"]
    assert encode_targets(tokenizer, ["경주 토함산에 있다"], max_tokens=3)[0, -1] == tokenizer.eos_token_id


def test_labels_of_a_gpt2_get_an_end(gpt2_tokenizer: PreTrainedTokenizerFast) -> None:
    plain = gpt2_tokenizer("경주 토함산")["input_ids"]
    assert plain[-1] != 1 and len(plain) > 3
    assert encode_targets(gpt2_tokenizer, ["경주 토함산", ""]).tolist() == [[*plain, 1], [1, *[-100] * len(plain)]]
    assert encode_targets(gpt2_tokenizer, ["경주 토함산"], max_tokens=3).tolist() == [[*plain[:2], 1]]
    assert encode_targets(gpt2_tokenizer, ["경주 토함산"], max_tokens=len(plain)).tolist() == [[*plain[:-1], 1]]


@pytest.mark.parametrize("sources", [[1], [3, 1], [10, 2, 7], []])
@pytest.mark.parametrize("answer", ["세종", "1592", "index: 3 answer: 넷", "두\n줄"])
def test_what_points_is_read_back(answer: str, sources: list[int]) -> None:
    assert parse_target(format_target(answer, sources), 10) == (answer, sources)
    assert format_target(answer, None) == answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("index: 2 1 answer: 세종", ("세종", [2, 1])),
        (" index:2,1  answer :세종 ", ("세종", [2, 1])),
        ("index: 0 2 4 2 99 answer: 세종", ("세종", [2])),  # there are passages 1, 2 and 3; once is enough
        ("index: answer: 세종", ("세종", [])),
        ("index: 2 answer:", ("", [2])),
        # Malformed: all of it is the answer.
        ("세종", ("세종", [])),
        ("index: 2", ("index: 2", [])),
        ("index: 둘 answer: 세종", ("index: 둘 answer: 세종", [])),
        ("answer: 세종", ("answer: 세종", [])),
        ("", ("", [])),
    ],
)
def test_what_a_reader_may_write(text: str, expected: tuple[str, list[int]]) -> None:
    assert parse_target(text, 3) == expected


# --- answers --------------------------------------------------------------------------------------------------

Scripted = Callable[..., FiDReader]


@pytest.fixture
def scripted(tokenizer: T5Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Return a function that makes a reader of which the model says ``texts``, best first, and attends to passages as ``attended`` says."""

    def make(*texts: str, attended: Sequence[float], n_context: int = 10, pointing: bool = False) -> FiDReader:
        n_best = [
            Decoded(tokenizer(text)["input_ids"][:-1], [math.log(0.5), math.log(0.5 / rank)])
            for rank, text in enumerate(texts, 1)
        ]
        monkeypatch.setattr(generate_module, "generate_n_best", lambda *_: [n_best])
        monkeypatch.setattr(scores_module, "score_passages", lambda _, e: [list(attended[: len(e[0].lengths)])])
        model = lively(variant=Variant(pointing=pointing), vocab_size=len(tokenizer))
        return FiDReader(model, tokenizer, n_context=n_context)

    return make


def test_an_answer_comes_with_the_passage_that_says_it(scripted: Scripted) -> None:
    # The model attends most to the last passage, but only the second says 김대성.
    (answer,) = scripted("김대성", attended=(0.1, 0.2, 0.9)).read("석굴암은 누가 지었나?", hits_of(PASSAGES))
    assert (answer.text, answer.passage, answer.cited) == ("김대성", PASSAGES[1], ())
    assert answer.confidence == pytest.approx(0.25)  # 1/2 x 1/2
    assert PASSAGES[1].text[answer.start : answer.end] == "김대성"


def test_an_answer_that_no_passage_says_has_no_span(scripted: Scripted) -> None:
    (answer,) = scripted("이순신", attended=(0.1, 0.9, 0.2)).read("누구인가?", hits_of(PASSAGES))
    assert (answer.passage, answer.start, answer.end) == (PASSAGES[1], None, None)


def test_only_the_first_passages_are_read(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = scripted("세종", attended=(0.1, 0.9, 0.2), n_context=2)
    seen: list[Batch] = []
    encode = reader.model.encode
    monkeypatch.setattr(reader.model, "encode", lambda batch: [seen.append(batch), encode(batch)][1])
    (answer,) = reader.read("누가?", hits_of(PASSAGES))
    assert answer.passage == PASSAGES[0]
    (batch,) = seen
    texts = [reader.tokenizer.decode(i, skip_special_tokens=True) for i in batch.input_ids.split(batch.lengths)]
    assert [t.replace(" ", "") for t in texts] == [format_input("누가?", p).replace(" ", "") for p in PASSAGES[:2]]


def test_nothing_to_read_is_no_answer(scripted: Scripted) -> None:
    assert scripted("세종", attended=(0.1,)).read("누가?", []) == []
    assert scripted("세종", attended=(0.1,)).read("  ", hits_of(PASSAGES[:1])) == []
    assert scripted("", attended=(0.1,)).read("누가?", hits_of(PASSAGES[:1])) == []
    assert scripted("index: 1 answer: ", attended=(0.1,), pointing=True).read("누가?", hits_of(PASSAGES[:1])) == []


def test_a_pointing_reader_cites(scripted: Scripted) -> None:
    # It attends most to the first passage, which also says the answer, but points to the third and the second.
    (answer,) = scripted("index: 3 2 9 answer: 세종", attended=(0.9, 0.2, 0.1), pointing=True).read(
        "누가?", hits_of(PASSAGES)
    )
    assert (answer.text, answer.passage, answer.cited) == ("세종", PASSAGES[2], ("p3", "p2"))
    assert (answer.start, answer.end) == (None, None)
    (answer,) = scripted("index: 1 answer: 세종", attended=(0.1, 0.2, 0.9), pointing=True).read(
        "누가?", hits_of(PASSAGES)
    )
    assert (answer.passage, answer.start, answer.end, answer.cited) == (PASSAGES[0], 0, 2, ("p1",))


def test_all_beams_come_with_their_own_passages(scripted: Scripted) -> None:
    reader = scripted("세종", "김대성", "《세종》", "", "서울", attended=(0.1, 0.2, 0.9))
    first, second, third = reader.read("누가?", hits_of(PASSAGES))
    assert [(a.text, a.passage) for a in (first, second)] == [("세종", PASSAGES[0]), ("김대성", PASSAGES[1])]
    # 《세종》 is 세종 once more, and nothing is no answer. The fifth best, 1/2 x 1/10, stands nowhere.
    assert (third.text, third.passage, third.start) == ("서울", PASSAGES[2], None)
    assert [a.confidence for a in (first, second, third)] == pytest.approx([1 / 4, 1 / 8, 1 / 20])
    assert PASSAGES[1].text[second.start : second.end] == "김대성"
    # Where the best is nothing, the reader says nothing.
    assert scripted("", "세종", attended=(0.1, 0.2, 0.9)).read("누가?", hits_of(PASSAGES)) == []
    pointing = scripted("index: 3 answer: 세종", "김대성", attended=(0.9, 0.1, 0.2), pointing=True)
    first, second = pointing.read("누가?", hits_of(PASSAGES))
    assert (first.passage, first.cited) == (PASSAGES[2], ("p3",)) and (second.passage, second.cited) == (
        PASSAGES[1],
        (),
    )


def test_passages_pointed_to_come_first() -> None:
    hits = hits_of(PASSAGES)
    # FiD-Light, section 3.3: those pointed to in their order, the rest as they were.
    assert [hit.passage.id for hit in pointed_first(hits, ("p3",))] == ["p3", "p1", "p2"]
    assert [hit.passage.id for hit in pointed_first(hits, ("p3", "p2"))] == ["p3", "p2", "p1"]
    assert pointed_first(hits, ()) == pointed_first(hits, ("elsewhere",)) == hits
    assert pointed_first(hits, ("p2",))[0] is hits[1]


def test_a_reader_that_points_nowhere_falls_back_on_attention(scripted: Scripted) -> None:
    for text in ("index: 9 answer: 세종", "index: answer: 세종", "세종"):
        (answer,) = scripted(text, attended=(0.1, 0.2, 0.9), pointing=True).read("누가?", hits_of(PASSAGES))
        assert (answer.text, answer.passage, answer.cited) == ("세종", PASSAGES[0], ())
    (answer,) = scripted("index: 1 answer: 세종", attended=(0.1, 0.9, 0.2)).read("누가?", hits_of(PASSAGES))
    assert answer.text == "index: 1 answer: 세종" and answer.cited == ()  # one that was not trained to point


# --- real readers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [Variant(), Variant(first_k=4, cross_layers=(2,), n_kv_heads=1, pointing=True)])
def test_a_real_reader_answers_alike_after_saving(tokenizer: T5Tokenizer, tmp_path: Path, variant: Variant) -> None:
    reader = FiDReader(lively(5, variant, std=0.3, vocab_size=len(tokenizer)), tokenizer)
    with torch.no_grad():
        reader.model.shared.weight[:3] = 0.0  # <pad>, </s>, <unk>: a lively model's answer may be empty
    answers = reader.read("누가 만들었나?", hits_of(PASSAGES))
    assert answers and answers[0].text
    assert 0.0 < answers[0].confidence <= 1.0

    reader.save(tmp_path / "reader")
    assert not (tmp_path / "reader/decoder").exists()
    opened = FiDReader.load(str(tmp_path / "reader"))
    assert opened.read("누가 만들었나?", hits_of(PASSAGES)) == answers
    assert opened.tokenizer("훈민정음은 세종이")["input_ids"] == tokenizer("훈민정음은 세종이")["input_ids"]
    beams = FiDReader.load(str(tmp_path / "reader"), decoding=Decoding(answer_tokens=2, n_beams=4), n_context=1)
    several = beams.read("누가 만들었나?", hits_of(PASSAGES))
    assert several and {answer.passage for answer in several} == {PASSAGES[0]}


def test_a_reader_that_writes_with_a_gpt2(
    tokenizer: T5Tokenizer, gpt2_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = tmp_path / "trinity"  # as skt/ko-gpt-trinity-1.2B-v0.5: a GPT2LMHeadModel and tokenizer.json
    torch.manual_seed(0)
    gpt2 = enliven(GPT2LMHeadModel(gpt2_config(vocab_size=len(gpt2_tokenizer))), 3, std=0.3)
    gpt2.save_pretrained(folder)
    gpt2_tokenizer.save_pretrained(folder)

    model = join(lively(vocab_size=len(tokenizer)), open_gpt2(str(folder)))
    enliven(model, 4, std=0.3)
    reader = FiDReader(model, tokenizer, open_tokenizer(str(folder)), decoding=Decoding(6))
    answers = reader.read("누가 만들었나?", hits_of(PASSAGES))
    assert answers and reader.decoder_tokenizer is not reader.tokenizer
    reader.save(tmp_path / "reader")
    opened = FiDReader.load(str(tmp_path / "reader"), decoding=Decoding(6))
    assert opened.read("누가 만들었나?", hits_of(PASSAGES)) == answers
    text = "석굴암은 경주에"
    assert opened.decoder_tokenizer(text)["input_ids"] == gpt2_tokenizer(text)["input_ids"]
    assert opened.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_score_keeps_order_and_batches_agree(tokenizer: T5Tokenizer) -> None:
    reader = FiDReader(lively(vocab_size=len(tokenizer)), tokenizer)
    pairs = [("누가?", hits_of(PASSAGES[:1])), ("어디?", hits_of(PASSAGES)), ("무엇?", hits_of(PASSAGES[1:]))]
    together = list(reader.score(pairs, batch_size=3))
    alone = list(reader.score(pairs, batch_size=1))
    for (_, hits), row, other in zip(pairs, together, alone, strict=True):
        assert [h.passage for h in row] == [h.passage for h in hits]
        assert all(h.source == "reader" and math.isfinite(h.score) for h in row)
        assert [h.score for h in row] == pytest.approx([h.score for h in other], abs=1e-5)


def test_only_the_first_passages_are_scored(tokenizer: T5Tokenizer) -> None:
    reader = FiDReader(lively(vocab_size=len(tokenizer)), tokenizer)
    hits = hits_of([*PASSAGES, *(Passage(f"q{i}", "", "") for i in range(3))])
    (scored,), (alone,) = reader.score([("누가?", hits)], n_context=2), reader.score([("누가?", hits[:2])])
    assert scored[:2] == alone
    # The rest stay behind those, in their order.
    assert [h.passage for h in scored] == [h.passage for h in hits]
    assert min(h.score for h in scored[:2]) > scored[2].score > scored[3].score > scored[4].score > scored[5].score
    (whole,) = reader.score([("누가?", hits)], n_context=6)
    assert whole == next(reader.score([("누가?", hits)])) and whole[0].score != scored[0].score
    assert [list(reader.score([("누가?", [])], n_context=2))] == [[[]]]


def test_another_reader_is_made_by_changing_options(tokenizer: T5Tokenizer) -> None:
    reader = FiDReader(lively(vocab_size=len(tokenizer)), tokenizer, confidence=Confidence(0.0, 1.0, 2.0))
    other = reader.with_options(n_context=3, max_tokens=7, decoding=Decoding(answer_tokens=5))
    assert (other.n_context, other.max_tokens, other.decoding.answer_tokens) == (3, 7, 5)
    assert (reader.n_context, reader.max_tokens, reader.decoding.answer_tokens) == (10, 250, 32)
    assert other.model is reader.model and other.tokenizer is tokenizer and other.confidence == reader.confidence
    assert reader.with_options(uncalibrated=True).confidence is plain_confidence


def test_a_tokenizer_that_does_not_name_the_end_stays_as_it_was(gpt2_tokenizer: PreTrainedTokenizerFast) -> None:
    nameless = copy.deepcopy(gpt2_tokenizer)
    nameless.eos_token = None
    reader = FiDReader(lively(vocab_size=len(gpt2_tokenizer)), gpt2_tokenizer, nameless)
    assert reader.decoder_tokenizer.eos_token_id == reader.model.end_token == 1
    assert nameless.eos_token_id is None


def test_score_of_questions_without_hits(tokenizer: T5Tokenizer) -> None:
    reader = FiDReader(lively(vocab_size=len(tokenizer)), tokenizer)
    assert [len(row) for row in reader.score([("누가?", hits_of(PASSAGES)), ("모름", [])])] == [3, 0]
    assert list(reader.score([("모름", [])])) == [[]]
    assert list(reader.score([])) == []


# --- tokenizers -----------------------------------------------------------------------------------------------


def test_a_tokenizer_of_our_own_has_t5_s_layout(tokenizer: T5Tokenizer) -> None:
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    for text in TEXTS[:4]:
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == 1
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_sentencepiece_model_works_too(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS * 4), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=120,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder = tmp_path / "t5"  # a folder as KE-T5's: spiece.model and no tokenizer.json
    folder.mkdir()
    shutil.copy(tmp_path / "spiece.model", folder / "spiece.model")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}')
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    plain = T5ForConditionalGeneration(t5_config(vocab_size=pieces.get_piece_size()))
    enliven(plain).save_pretrained(folder)

    reader = FiDReader.load(str(folder))
    for text in TEXTS[:4]:
        assert reader.tokenizer(text)["input_ids"] == [*pieces.encode(text), 1]
    assert [len(row) for row in reader.score([("누가?", hits_of(PASSAGES))])] == [3]
    assert len(reader.read("누가?", hits_of(PASSAGES))) <= 1
