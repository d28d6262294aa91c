"""Corpora, questions and FiD JSON: every format read, every fault named with its place."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from support.files import WriteLines

from kofid.errors import InputError
from kofid.evaluation.metrics import gold_units
from kofid.formats import is_question_file, read_corpus, read_examples, read_questions, write_examples
from kofid.formats.passage_split import article_id, split_article
from kofid.types import Example, Hit, Passage, Question

A = {"id": "1", "title": "이순신", "text": "이순신은 장군이다."}
B = {"id": "2", "title": "세종", "text": "세종은 임금이다."}
PASSAGES = [Passage("1", "이순신", "이순신은 장군이다."), Passage("2", "세종", "세종은 임금이다.")]
KORQUAD = {
    "version": "KorQuAD_v1.0_train",
    "data": [
        {
            "title": "이순신",
            "paragraphs": [
                {
                    "context": "이순신은 1592년에 싸웠다.",
                    "qas": [
                        {
                            "id": "1-0",
                            "question": "이순신은 언제 싸웠나?",
                            "answers": [{"text": "1592년", "answer_start": 5}, {"text": "1592년", "answer_start": 5}],
                        }
                    ],
                },
                {"context": "그는 통제사였다.", "qas": [{"id": "1-1", "question": "그의 벼슬은?", "answers": []}]},
            ],
        },
        {"title": "세종", "paragraphs": [{"context": "세종은 임금이다.", "qas": []}]},
    ],
}

COMPRESSIONS = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstd.compress,
}


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def corpus(path: Path, **options: object) -> list[Passage]:
    return list(read_corpus([str(path)], **options))  # type: ignore[arg-type]


def as_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))  # type: ignore[arg-type]


# --- corpora -------------------------------------------------------------------------------------------------


def test_passage_lines(write_lines: WriteLines):
    assert corpus(write_lines("c.jsonl", [A, "", B])) == PASSAGES


@pytest.mark.parametrize(
    ("id_name", "text_name"),
    [("_id", "text"), ("docid", "contents"), ("document_id", "document_text"), ("curid", "context")],
)
def test_other_field_names(write_lines: WriteLines, id_name: str, text_name: str):
    assert corpus(write_lines("c.jsonl", [{id_name: 7, text_name: "글이다."}])) == [Passage("7", "", "글이다.")]


def test_text_is_cleaned(write_lines: WriteLines):
    found = corpus(
        write_lines("c.jsonl", ['{"id": "\\u1100\\u1161", "title": "\\ufeff\\ud800", "text": "\\u1102\\u1161"}'])
    )
    assert found == [Passage("가", "\ufffd", "나")]


@pytest.mark.parametrize("indent", [None, 1])
def test_json_array(tmp_path: Path, indent: int | None):
    path = tmp_path / "c.json"
    path.write_text(json.dumps([A, B], indent=indent))
    assert corpus(path) == PASSAGES


@pytest.mark.parametrize("indent", [None, 1])
def test_mapping_from_id_to_document(tmp_path: Path, indent: int | None):
    path = tmp_path / "c.json"
    path.write_text(
        json.dumps(
            {"1": {"title": "이순신", "text": A["text"]}, "2": {"title": "세종", "text": B["text"]}}, indent=indent
        )
    )
    assert corpus(path) == PASSAGES


@pytest.mark.parametrize("indent", [None, 1])
def test_korquad(tmp_path: Path, indent: int | None):
    path = tmp_path / "k.json"
    path.write_text(json.dumps(KORQUAD, indent=indent))
    assert corpus(path) == [
        Passage("이순신#0", "이순신", "이순신은 1592년에 싸웠다."),
        Passage("이순신#1", "이순신", "그는 통제사였다."),
        Passage("세종#0", "세종", "세종은 임금이다."),
    ]


def test_korquad_with_an_article_a_line(tmp_path: Path):
    path = tmp_path / "k.json"
    articles = ",\n".join(dumps(article) for article in KORQUAD["data"])
    path.write_text('{"data": [\n' + articles + '\n], "version": "1.0"}\n')
    assert [p.id for p in corpus(path)] == ["이순신#0", "이순신#1", "세종#0"]


def test_fid_contexts_once_each(write_lines: WriteLines):
    lines = [{"question": "가?", "ctxs": [A, B]}, {"question": "나?", "ctxs": [B, {"title": "t", "text": "새 글"}]}]
    found = corpus(write_lines("f.jsonl", lines))
    assert found[:2] == PASSAGES
    assert [p.text for p in found[2:]] == ["새 글"]
    assert found[2].id  # stands for title and text


def test_dpr_tsv(tmp_path: Path):
    path = tmp_path / "psgs_w100.tsv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows(
            [["id", "text", "title"], ["1", '그는 "무정"을 썼다.', "이광수"], ["2", "세종은 임금이다.", "세종"]]
        )
    assert corpus(path) == [Passage("1", "이광수", '그는 "무정"을 썼다.'), Passage("2", "세종", "세종은 임금이다.")]


def test_tsv_with_a_long_text(tmp_path: Path):
    path = tmp_path / "c.tsv"
    path.write_text("id\ttext\ttitle\n1\t" + "긴 글이다. " * 30_000 + "\t제목\n")
    assert len("".join(p.text for p in corpus(path, split=False))) == 7 * 30_000


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_compressed(tmp_path: Path, compress: Callable[[bytes], bytes]):
    lines = "".join(dumps(entry) + "\n" for entry in (A, B)).encode()
    path = tmp_path / "c.bin"  # told by its bytes, not by its name
    path.write_bytes(compress(lines))
    assert corpus(path) == PASSAGES
    path.write_bytes(compress(lines[:40]) + compress(lines[40:]))  # two streams in one file, as cat makes
    assert corpus(path) == PASSAGES
    path.write_bytes(compress(lines.decode().encode("cp949")))
    assert corpus(path, encoding="cp949") == PASSAGES


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
@pytest.mark.parametrize("encoding", [None, "cp949"])
def test_cut_off_compressed_file_is_refused(tmp_path: Path, compress: Callable[[bytes], bytes], encoding: str | None):
    lines = "".join(dumps({"id": i, "text": f"{i}번째 글이다."}) + "\n" for i in range(3_000))
    whole = compress(lines.encode(encoding or "utf-8"))
    path = tmp_path / "c.bin"
    for kept in (len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"c\.bin"):
            corpus(path, encoding=encoding)


def test_zstd_cut_off_between_two_lines_is_refused(tmp_path: Path):
    """What a killed ``zstd`` leaves: whole blocks without the end of the frame."""
    stream = zstd.ZstdCompressor()
    path = tmp_path / "c.zst"
    path.write_bytes(stream.compress((dumps(A) + "\n").encode()) + stream.flush(zstd.ZstdCompressor.FLUSH_BLOCK))
    with pytest.raises(InputError, match=r"c\.zst"):
        corpus(path)


def test_stdin_in_a_pipe(tmp_path: Path):
    script = "from kofid.formats import read_corpus\nfor p in read_corpus(['-']): print(p.id)"
    lines = "".join(dumps(entry) + "\n" for entry in (A, B)).encode()
    for data in (lines, gzip.compress(lines)):
        done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
        assert done.stdout.split() == [b"1", b"2"]


def test_several_files_share_one_set_of_ids(write_lines: WriteLines):
    one, two = write_lines("one.jsonl", [A]), write_lines("two.jsonl", [B, A])
    with pytest.raises(InputError) as error:
        list(read_corpus([str(one), str(two)]))
    assert f"{two}:2" in str(error.value) and f"{one}:1" in str(error.value)


# --- articles ------------------------------------------------------------------------------------------------


def test_articles_are_cut_at_sentence_ends(write_lines: WriteLines):
    sentences = [f"{n}번째 문장은 낱말이 모두 여섯 개다." for n in range(100)]  # 6 words each: 600 words, an article
    found = corpus(write_lines("c.jsonl", [{"id": "A", "title": "제목", "text": " ".join(sentences)}]))
    assert [p.id for p in found] == [f"A#{n}" for n in range(len(found))]
    assert {p.title for p in found} == {"제목"}
    assert all(p.text.startswith(tuple("0123456789")) and p.text.endswith("개다.") for p in found)
    assert " ".join(p.text for p in found) == " ".join(sentences)
    # 16 sentences make 96 words, a 17th would pass 100; 100 = 6 x 16 + 4, and 4 sentences (24 words) are less than a
    # quarter of 100, so they join the sixth passage
    assert [len(p.text.split()) for p in found] == [96] * 5 + [120]


def test_split_can_be_told(write_lines: WriteLines):
    text = "하나 둘 셋. " * 40
    path = write_lines("c.jsonl", [{"id": "A", "text": text}])
    assert [p.id for p in corpus(path)] == ["A"]
    assert [p.id for p in corpus(path, split=True, passage_words=60)] == ["A#0", "A#1"]
    long = write_lines("long.jsonl", [{"id": "A", "text": text * 10}])
    assert [p.id for p in corpus(long, split=False)] == ["A"]


def test_endless_sentence_is_cut_between_words():
    words = [f"낱말{n}" for n in range(1_000)]
    pieces = list(split_article(Passage("A", "", " ".join(words)), 100))
    assert all(len(p.text.split()) <= 225 for p in pieces)
    assert " ".join(p.text for p in pieces).split() == words


def test_endless_word_is_cut():
    pieces = list(split_article(Passage("A", "", "a" * 1_000_000), 100))
    assert all(len(p.text) <= 2_500 for p in pieces)
    assert "".join(p.text for p in pieces) == "a" * 1_000_000


def test_article_id():
    assert article_id("이순신#3") == "이순신"
    assert article_id("C#") == "C#"
    assert article_id("가#나") == "가#나"
    assert article_id("가#1#2") == "가#1"
    assert article_id("demo-1") == "demo-1"


def test_gold_id_may_name_an_article():
    assert gold_units(["세종#0", "이순신#4"], ["이순신"]) == [None, "이순신"]
    assert gold_units(["세종#0", "이순신#4"], ["이순신#4"]) == [None, "이순신#4"]
    assert gold_units(["세종#0", "이순신#4"], ["이순신#0"]) == [None, None]


# --- bad corpora ---------------------------------------------------------------------------------------------

BROKEN = {
    "broken JSON": '{"id": "9" "text": "가"}',
    "cut off": '{"id": "9", "text": "가',
    "no JSON": "그냥 글",
    "no text": '{"id": "9", "title": "가"}',
    "no id": '{"text": "가"}',
    "blank text": '{"id": "9", "text": " \\u200b "}',
    "text is a list": '{"id": "9", "text": ["가"]}',
    "null": "null",
    "number": "5",
    "string": '"가"',
    "list": "[1, 2]",
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "huge number": '{"id": ' + "1" * 5_000 + ', "text": "가"}',
    "bad paragraphs": '{"title": "가", "paragraphs": [5]}',
    "bad context": '{"ctxs": [{"id": "9"}]}',
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_broken_line_is_named(write_lines: WriteLines, line: str):
    path = write_lines("c.jsonl", [A, B, "", line, {"id": "3", "text": "다"}])
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:4" in str(error.value)


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_broken_line_is_skipped_and_counted(write_lines: WriteLines, line: str):
    path = write_lines("c.jsonl", [A, line, B, line])
    skipped: list[str] = []
    assert corpus(path, skipped=skipped) == PASSAGES
    assert len(skipped) == 2
    assert f"{path}:2" in skipped[0] and f"{path}:4" in skipped[1]


FIRST_LINES = {
    name: BROKEN[name] for name in ("broken JSON", "cut off", "no JSON", "no text", "null", "deep", "huge number")
}


@pytest.mark.parametrize("line", FIRST_LINES.values(), ids=FIRST_LINES.keys())
def test_broken_first_line_is_named(write_lines: WriteLines, line: str):
    path = write_lines("c.jsonl", [line, A, B])
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:1" in str(error.value)


@pytest.mark.parametrize("line", FIRST_LINES.values(), ids=FIRST_LINES.keys())
def test_broken_first_line_is_skipped_and_counted(write_lines: WriteLines, line: str):
    path = write_lines("c.jsonl", [line, A, B])
    skipped: list[str] = []
    assert corpus(path, skipped=skipped) == PASSAGES
    assert len(skipped) == 1 and f"{path}:1" in skipped[0]


@pytest.mark.parametrize(
    "line", [BROKEN["cut off"], BROKEN["deep"], BROKEN["no JSON"]], ids=["cut off", "deep", "no JSON"]
)
def test_broken_only_line_is_named(write_lines: WriteLines, line: str):
    path = write_lines("c.jsonl", [line])
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:1" in str(error.value)


def test_line_in_a_document_with_blank_lines(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text("[\n\n\n" + dumps(A) + ",\nbroken\n]")
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:5" in str(error.value)


def test_entry_of_an_array_is_named(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text(dumps([A, {"id": "2"}, B]))
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}[1]" in str(error.value)
    skipped: list[str] = []
    assert corpus(path, skipped=skipped) == PASSAGES and len(skipped) == 1


def test_paragraph_of_korquad_is_named(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_text(dumps({"data": [{"title": "가", "paragraphs": [{"context": "나"}, {"context": 1.5}]}]}))
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}[0].paragraphs[1]" in str(error.value)


def test_qas_that_is_no_list(write_lines: WriteLines):
    path = write_lines("c.jsonl", [A, {"title": "가", "paragraphs": [{"context": "나", "qas": 5}]}])
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:2" in str(error.value)


def test_duplicate_id(write_lines: WriteLines):
    path = write_lines("c.jsonl", [A, B, {**A, "text": "다른 글"}])
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:3" in str(error.value) and f"{path}:1" in str(error.value)
    skipped: list[str] = []
    assert corpus(path, skipped=skipped) == PASSAGES and len(skipped) == 1


def test_skipping_a_record_loses_no_passage_of_another(write_lines: WriteLines):
    path = write_lines("f.jsonl", [{"ctxs": [A, {"id": "9"}]}, {"ctxs": [A, B]}])
    skipped: list[str] = []
    assert corpus(path, skipped=skipped) == PASSAGES
    assert len(skipped) == 1


def test_tsv_row_with_a_missing_column(tmp_path: Path):
    path = tmp_path / "c.tsv"
    path.write_text("id\ttext\ttitle\n1\t이순신은 장군이다.\t이순신\n9\t글만\n2\t세종은 임금이다.\t세종\n")
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:3" in str(error.value)
    skipped: list[str] = []
    assert corpus(path, skipped=skipped) == PASSAGES and len(skipped) == 1


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"\xef\xbb\xbf", b"[]"], ids=["empty", "blank", "BOM", "empty array"]
)
def test_empty_file(tmp_path: Path, content: bytes):
    path = tmp_path / "c.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.jsonl"):
        corpus(path)


def test_nothing_usable_is_an_error_even_when_skipping(write_lines: WriteLines):
    with pytest.raises(InputError, match=r"c\.jsonl"):
        corpus(write_lines("c.jsonl", ['{"id": "1"}', '{"id": "2"}']), skipped=[])


def test_missing_file_and_directory(tmp_path: Path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError) as error:
            corpus(path)
        assert str(path) in str(error.value)


# --- encodings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le", "utf-16-be"])
def test_other_encodings_are_refused_with_a_hint_and_read_when_told(tmp_path: Path, encoding: str):
    path = tmp_path / "c.jsonl"
    path.write_bytes("".join(dumps(entry) + "\n" for entry in (A, B)).encode(encoding))
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:1" in str(error.value)
    assert f"encoding={'cp949' if encoding == 'cp949' else 'utf-16'}" in str(error.value)
    assert corpus(path, encoding=encoding) == PASSAGES


def test_byte_offset_of_a_wrong_byte(tmp_path: Path, english: None):
    path = tmp_path / "c.jsonl"
    first = (dumps(A) + "\n").encode()
    path.write_bytes(first + '{"id": "2", "text": "가"}\n'.encode("cp949"))
    with pytest.raises(InputError) as error:
        corpus(path)
    assert f"{path}:2: byte {len(first) + 21}:" in str(error.value)  # 21 ASCII characters stand before 가


def test_utf8_with_a_mark_at_its_start(tmp_path: Path):
    path = tmp_path / "c.jsonl"
    path.write_bytes("".join(dumps(entry) + "\r\n" for entry in (A, B)).encode("utf-8-sig"))
    assert corpus(path) == PASSAGES
    assert corpus(path, encoding="utf-8") == PASSAGES


def test_unknown_encoding_and_wrong_encoding(tmp_path: Path, write_lines: WriteLines):
    with pytest.raises(InputError, match="no-such-code"):
        corpus(write_lines("c.jsonl", [A]), encoding="no-such-code")
    path = tmp_path / "bad.jsonl"
    path.write_bytes(dumps(A).encode("cp949") + b"\n\xff\xff\n")
    with pytest.raises(InputError) as error:
        corpus(path, encoding="cp949")
    assert str(path) in str(error.value) and "cp949" in str(error.value)


# --- questions -----------------------------------------------------------------------------------------------


def questions(path: Path) -> list[Question]:
    return list(read_questions(str(path)))


def test_question_lines(write_lines: WriteLines):
    path = write_lines(
        "q.jsonl",
        [
            {"id": "q1", "question": " 누가 만들었나? ", "answers": ["세종", "세종대왕"], "positive_ids": ["2"]},
            {"query": "언제?", "answer": "1443년", "positive_id": "2"},
            {"question": "몇 명?", "answers": {"text": ["20명"], "answer_start": [3]}},
            {"question": "\u1100\u1161?"},
        ],
    )
    assert questions(path) == [
        Question("누가 만들었나?", "q1", ("세종", "세종대왕"), ("2",)),
        Question("언제?", "", ("1443년",), ("2",)),
        Question("몇 명?", "", ("20명",)),
        Question("가?"),
    ]


@pytest.mark.parametrize("indent", [None, 1])
def test_korquad_questions(tmp_path: Path, indent: int | None):
    path = tmp_path / "k.json"
    path.write_text(json.dumps(KORQUAD, indent=indent))
    assert questions(path) == [
        Question("이순신은 언제 싸웠나?", "1-0", ("1592년",), ("이순신#0",)),
        Question("그의 벼슬은?", "1-1", (), ("이순신#1",)),
    ]


def test_korquad_questions_name_the_passages_of_its_corpus(tmp_path: Path):
    path = tmp_path / "k.json"
    path.write_text(dumps(KORQUAD))
    ids = {p.id for p in corpus(path)}
    assert all(set(q.positive_ids) <= ids for q in questions(path))


def test_plain_lines(tmp_path: Path):
    path = tmp_path / "q.txt"
    path.write_text("누가 만들었나?\n\n 언제 일어났나? \n")
    assert questions(path) == [Question("누가 만들었나?", "1"), Question("언제 일어났나?", "3")]
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert [q.text for q in questions(path)] == ["누가 만들었나?", "언제 일어났나?"]


@pytest.mark.parametrize("indent", [None, 1])
def test_fid_questions(tmp_path: Path, indent: int | None):
    path = tmp_path / "f.json"
    path.write_text(
        json.dumps([{"question": "누가?", "target": "세종", "answers": ["세종"], "ctxs": [A]}], indent=indent)
    )
    assert questions(path) == [Question("누가?", "", ("세종",))]


@pytest.mark.parametrize(
    "content",
    [
        "누가?\n언제?\n",
        '{"question": "누가?"}\n{"question": "언제?"}\n',
        '[{"question": "누가?"}, {"question": "언제?"}]',
    ],
    ids=["plain", "JSON lines", "array"],
)
def test_questions_of_stdin(monkeypatch: pytest.MonkeyPatch, content: str):
    as_stdin(monkeypatch, content.encode())
    assert [q.text for q in read_questions("-")] == ["누가?", "언제?"]


@pytest.mark.parametrize("indent", [None, 1])
def test_korquad_questions_of_stdin(monkeypatch: pytest.MonkeyPatch, indent: int | None):
    as_stdin(monkeypatch, json.dumps(KORQUAD, indent=indent).encode())
    assert [q.id for q in read_questions("-")] == ["1-0", "1-1"]


@pytest.mark.parametrize(
    "line",
    [
        '{"question": "누가?"',
        '{"id": "q"}',
        '{"question": ["누가?"]}',
        '{"question": "누가?", "answers": [1.5]}',
        '{"question": "누가?", "positive_ids": {"2": 1}}',
        "[1]",
        '{"title": "가", "paragraphs": [{"context": "나", "qas": [5]}]}',
        '{"title": "가", "paragraphs": [{"context": "나", "qas": 5}]}',
        '{"title": "가", "paragraphs": [{"context": "나", "qas": [{"question": "다", "answers": 5}]}]}',
        '{"title": "가", "paragraphs": [{"context": "나", "qas": [{"question": "다", "answers": [5]}]}]}',
    ],
)
def test_bad_question_is_named(write_lines: WriteLines, line: str):
    path = write_lines("q.jsonl", [{"question": "누가?"}, line])
    with pytest.raises(InputError) as error:
        questions(path)
    assert f"{path}:2" in str(error.value)


def test_missing_question_file(tmp_path: Path):
    path = tmp_path / "none.jsonl"
    with pytest.raises(InputError) as error:
        questions(path)
    assert str(path) in str(error.value)


def test_is_question_file(write_lines: WriteLines):
    assert is_question_file("-") and is_question_file(str(write_lines("q.jsonl", [])))
    assert not is_question_file("누가 만들었나?")
    assert not is_question_file("누가? " * 10_000)
    assert not is_question_file("nul\0byte")


# --- FiD/DPR JSON --------------------------------------------------------------------------------------------

EXAMPLES = [
    Example(
        Question("누가?", "q1", ("세종",), ("2",)),
        (Hit(PASSAGES[1], 2.5, "file"), Hit(PASSAGES[0], 0.25, "file")),
        "세종",
    ),
    Example(Question("언제?", "q2"), ()),
]


@pytest.mark.parametrize("name", ["f.json", "f.jsonl"])
def test_fid_round_trip(tmp_path: Path, name: str):
    path = tmp_path / name
    assert write_examples(path, EXAMPLES) == 2
    assert list(read_examples(str(path))) == EXAMPLES
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name.endswith("jsonl"):
        assert [json.loads(line)["question"] for line in path.read_text().splitlines()] == ["누가?", "언제?"]
    else:
        assert [entry["question"] for entry in json.loads(path.read_text())] == ["누가?", "언제?"]


def test_fid_fields_on_disk(tmp_path: Path):
    path = tmp_path / "f.json"
    write_examples(path, EXAMPLES[:1])
    assert json.loads(path.read_text()) == [
        {
            "id": "q1",
            "question": "누가?",
            "target": "세종",
            "answers": ["세종"],
            "positive_ids": ["2"],
            "ctxs": [{**B, "score": 2.5}, {**A, "score": 0.25}],
        }
    ]


@pytest.mark.parametrize("name", ["f.json", "f.jsonl"])
def test_no_examples(tmp_path: Path, name: str):
    path = tmp_path / name
    assert write_examples(path, []) == 0
    assert list(read_examples(str(path))) == []


def test_dpr_scores_and_ids(write_lines: WriteLines):
    ctxs = [
        {"id": 7, "text": "가", "score": "1.5"},
        {"passage_id": "x", "title": "t", "text": "나"},
        {"text": "다", "score": None},
    ]
    (example,) = read_examples(str(write_lines("f.jsonl", [{"question": "q", "answers": ["a"], "ctxs": ctxs}])))
    assert [(h.passage.id, h.score) for h in example.hits[:2]] == [("7", 1.5), ("x", 0.0)]
    assert example.hits[2].passage.id
    assert example.target is None


def test_examples_are_cleaned_and_can_be_written(tmp_path: Path, write_lines: WriteLines):
    line = '{"id": "\\ud800", "question": "\\u1100\\u1161", "target": "\\u1102\\u1161\\ud800", "answers": ["\\u1102\\u1161"], "ctxs": []}'
    (example,) = read_examples(str(write_lines("f.jsonl", [line])))
    assert example.question.text == "가" and example.question.answers == ("나",)
    assert example.target == "나\ufffd"
    assert write_examples(tmp_path / "out.json", [example]) == 1


def test_failed_writing_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "f.json"
    write_examples(path, EXAMPLES)

    def broken():
        yield EXAMPLES[0]
        raise InputError("stop")

    with pytest.raises(InputError):
        write_examples(path, broken())
    assert list(read_examples(str(path))) == EXAMPLES
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ('{"question": "q"}', ":2"),
        ('{"question": "q", "ctxs": 5}', ":2"),
        ('{"question": "q", "ctxs": [{"id": "1"}]}', ":2.ctxs[0]"),
        ('{"question": "q", "ctxs": [5]}', ":2.ctxs[0]"),
        ('{"question": "q", "ctxs": [{"text": "가", "score": "높음"}]}', ":2.ctxs[0]"),
        ('{"ctxs": []}', ":2"),
        ("5", ":2"),
    ],
)
def test_bad_example_is_named(write_lines: WriteLines, line: str, place: str):
    path = write_lines("f.jsonl", [{"question": "q", "ctxs": []}, line])
    with pytest.raises(InputError) as error:
        list(read_examples(str(path)))
    assert f"{path}{place}" in str(error.value)


@pytest.mark.parametrize("score", ["NaN", "Infinity"])
def test_score_that_is_no_finite_number(write_lines: WriteLines, score: str):
    path = write_lines("f.jsonl", ['{"question": "q", "ctxs": [{"text": "가", "score": ' + score + "}]}"])
    with pytest.raises(InputError) as error:
        list(read_examples(str(path)))
    assert f"{path}:1.ctxs[0]" in str(error.value)
