"""People's own files: read as documents, kept as an index that follows them, asked without an index step."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest
from docx import Document
from pypdf import PdfWriter
from support.command_line import kofid

from kofid.corpora import corpus_index
from kofid.errors import InputError
from kofid.evaluation.rankings import read_measures
from kofid.experiments.grid import Grid
from kofid.formats import documents, read_corpus, read_examples, read_questions
from kofid.formats.convert import kind_of
from kofid.formats.documents import documents_in, read_document
from kofid.formats.user_dictionary import read_user_words

TEXT = "울릉도 등대는 1954년에 처음 불을 밝혔다."
OWPML = "http://www.hancom.co.kr/hwpml/2011"


def hwpx(*paragraphs: str) -> bytes:
    """An OWPML package of two sections, the second named so that it sorts before the first as text."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as package:
        for number, text in zip((2, 10), paragraphs, strict=True):
            runs = "".join(f"<p:run><p:t>{half}</p:t></p:run>" for half in (text[:5], text[5:]))
            body = f'<s:sec xmlns:s="{OWPML}/section" xmlns:p="{OWPML}/paragraph"><p:p>{runs}</p:p></s:sec>'
            package.writestr(f"Contents/section{number}.xml", body)
        package.writestr("Contents/header.xml", "<a>머리</a>")
    return data.getvalue()


def docx(title: str, text: str) -> bytes:
    data = io.BytesIO()
    document = Document()
    document.core_properties.title = title
    document.add_paragraph(text)
    document.add_table(rows=1, cols=2).rows[0].cells[1].text = "표 안의 글"
    document.save(data)
    return data.getvalue()


def pdf(text: str) -> bytes:
    """A page with a line of Latin text, as a writer would put it."""
    stream = f"BT /F 12 Tf 20 50 Td ({text}) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        f"<</Length {len(stream)}>>stream\n{stream}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj{content}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 6\n0000000000 65535 f \n{table}trailer<</Size 6/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    return (body + end).encode("latin-1")


@pytest.mark.parametrize(
    ("name", "data", "title", "text"),
    [
        ("가.txt", TEXT.encode(), "가", TEXT),
        ("나.txt", TEXT.encode("cp949"), "나", TEXT),
        ("다.txt", TEXT.encode("utf-16"), "다", TEXT),
        ("라.TXT", b"\xef\xbb\xbf" + TEXT.encode(), "라", TEXT),
        (
            "마.md",
            f"# 등대 이야기\n\n**{TEXT}** [링크](http://a.b)\n".encode(),
            "등대 이야기",
            f"등대 이야기\n\n{TEXT} 링크",
        ),
        (
            "바.html",
            f"<html><title>등대</title><script>없을 것</script><p>첫 줄</p><p>{TEXT}</p></html>".encode(),
            "등대",
            f"첫 줄\n{TEXT}",
        ),
        ("사.docx", docx("회의", TEXT), "회의", f"{TEXT}\n 표 안의 글"),
        ("아.docx", docx("", TEXT), "아", f"{TEXT}\n 표 안의 글"),
        ("자.hwpx", hwpx(TEXT, "둘째 장입니다."), "자", f"{TEXT}\n둘째 장입니다."),
        ("차.pdf", pdf("Lighthouse 1954"), "차", "Lighthouse 1954"),
    ],
)
def test_a_document_is_its_title_and_text(name: str, data: bytes, title: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    found = read_document(str(path))
    assert (found.id, found.title, found.text) == (str(path), title, text)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = io.BytesIO()
    PdfWriter().write(empty)
    entity = '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w") as package:
        package.writestr("Contents/section0.xml", entity)
    for name, data in {
        "빈.txt": b" \n",
        "깨진.pdf": b"%PDF-1.4 nothing",
        "글없음.pdf": empty.getvalue(),
        "깨진.docx": b"PK nothing",
        "깨진.hwpx": b"",
        "개체.hwpx": bomb.getvalue(),
        "이상.txt": b"\xff\xfd\x81",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            read_document(str(tmp_path / name))
    monkeypatch.setattr(documents, "MAX_BYTES", 100)
    (tmp_path / "큰.txt").write_bytes(b"a" * 101)
    (tmp_path / "푸는.hwpx").write_bytes(hwpx("가" * 500, "나"))
    for name in ("큰.txt", "푸는.hwpx"):
        with pytest.raises(InputError, match=name):
            read_document(str(tmp_path / name))


def test_a_folder_is_its_documents_cut_into_passages(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".숨은").mkdir()
    long = " ".join(f"{i}번째 문장은 이렇게 끝난다." for i in range(200))
    (tmp_path / "b/긴.txt").write_text(long, encoding="utf-8")
    (tmp_path / "a.md").write_text(TEXT, encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"id": "1", "title": "", "text": "줄"}\n', encoding="utf-8")
    (tmp_path / ".숨은/x.txt").write_text("숨은 글", encoding="utf-8")
    (tmp_path / "그림.png").write_bytes(b"")
    assert [Path(f).name for f in documents_in(tmp_path)] == ["a.md", "긴.txt", "c.jsonl"]
    found = list(read_corpus([str(tmp_path)]))
    assert found[0].id == f"{tmp_path / 'a.md'}#0" and found[-1].id == "1"
    pieces = [p for p in found if "긴" in p.id]
    assert len(pieces) > 5 and " ".join(p.text for p in pieces) == long


def test_an_index_of_files_follows_them(tmp_path: Path) -> None:
    notes, cache = tmp_path / "notes", tmp_path / "cache"
    notes.mkdir()
    for i in range(6):
        (notes / f"{i}.txt").write_text(f"{i}번 창고에는 사과가 {i + 10}상자 있다.", encoding="utf-8")
    (notes / "깨진.pdf").write_bytes(b"nothing")

    def look() -> tuple[dict[str, str], str, list[str]]:
        skipped: list[str] = []
        index = corpus_index([str(notes)], cache=cache, skipped=skipped)
        texts = {Path(p.id.partition("#")[0]).name: p.text for p in (index.passages[i] for i in range(len(index)))}
        return texts, index.artifact.directory.name, skipped

    texts, generation, skipped = look()
    assert len(texts) == 6 and "깨진.pdf" in skipped[0]
    assert look() == (texts, generation, [])  # nothing changed: nothing is read
    (notes / "2.txt").write_text("2번 창고는 비었다.", encoding="utf-8")
    os.utime(notes / "2.txt", ns=(1, 1))
    (notes / "3.txt").unlink()
    (notes / "7.txt").write_text("7번 창고가 새로 생겼다.", encoding="utf-8")
    after, later, _ = look()
    assert later != generation
    assert after == {
        **{n: t for n, t in texts.items() if n != "3.txt"},
        "2.txt": "2번 창고는 비었다.",
        "7.txt": "7번 창고가 새로 생겼다.",
    }
    anew = corpus_index([str(notes)], cache=tmp_path / "other")
    old = corpus_index([str(notes)], cache=cache)
    for question in ("2번 창고", "사과 상자"):
        assert [(h.passage.id, round(h.score, 4)) for h in old.search(question, 9)] == [
            (h.passage.id, round(h.score, 4)) for h in anew.search(question, 9)
        ]
    (path,) = (cache / "corpora").iterdir()
    (path / "CURRENT").write_text("damaged")
    assert look()[0] == after  # it is only a cache


def test_asking_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "등대.txt").write_text(TEXT, encoding="utf-8")
    (notes / "소풍.hwpx").write_bytes(hwpx("봄 소풍은 4월 12일에 여주로 간다.", "둘째 장"))
    asked = kofid("ask", "--corpus", notes, "울릉도 등대는 언제 처음 불을 밝혔나?", "--top", 2)
    assert asked.code == 0, asked.err
    assert asked.object["answer"] == "1954년"
    first, second = asked.object["nbest"]
    assert first["answer"] == "1954년" and first["confidence"] > second["confidence"]
    (only,) = kofid("ask", "--corpus", notes, "소풍", "--context-only").object["ctxs"]
    assert only["id"] == f"{notes / '소풍.hwpx'}#0"
    assert kofid("ask", "--corpus", notes, "--demo", "가").code == 2
    (tmp_path / "깨진.pdf").write_bytes(b"%PDF-1.4 nothing")
    for wrong in ("없음", "깨진.pdf"):  # both are named
        found = kofid("ask", "--corpus", tmp_path / wrong, "가")
        assert found.code == 3 and wrong in found.err and "EOF marker" not in found.err


# --- names and kinds of files -----------------------------------------------------------------------------------


def test_lock_files_are_passed_over(tmp_path: Path):
    (tmp_path / "보고서.txt").write_text("이순신은 거북선을 이끌었다.", encoding="utf-8")
    (tmp_path / "~$보고서.docx").write_bytes(b"\x05owner")
    (tmp_path / "~$안").mkdir()
    (tmp_path / "~$안" / "글.txt").write_text("글", encoding="utf-8")
    assert list(documents_in(tmp_path)) == [str(tmp_path / "보고서.txt")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf_8_is_shown_escaped(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    cache = tmp_path_factory.mktemp("cache")
    (tmp_path / "가.txt").write_text("세종은 훈민정음을 만들었다.", encoding="utf-8")
    latin = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    latin.write_text("이순신은 거북선을 이끌었다.", encoding="utf-8")
    found = {passage.title: passage.id for passage in read_corpus([str(tmp_path)])}
    assert found == {"가": f"{tmp_path}/가.txt#0", "caf\\xe9": f"{tmp_path}/caf\\xe9.txt#0"}
    # The cached index of the folder knows it, too, and reads it anew when it changes.
    index = corpus_index([str(tmp_path)], cache=cache)
    assert index.search("거북선", 1)[0].passage.title == "caf\\xe9"
    latin.write_text("강감찬은 귀주에서 크게 이겼다.", encoding="utf-8")
    index = corpus_index([str(tmp_path)], cache=cache)
    assert [hit.passage.title for hit in index.search("귀주", 3)] == ["caf\\xe9"]
    latin.write_bytes(b"")
    with pytest.raises(InputError, match="caf.*xe9"):
        read_document(str(latin))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_refused_and_do_not_hang(tmp_path: Path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    for read in (read_corpus, read_questions, read_examples, read_user_words, kind_of, read_measures):
        with pytest.raises(InputError, match="pipe.jsonl"):
            list(read([str(pipe)] if read is read_corpus else str(pipe)))  # type: ignore[operator]
    with pytest.raises(InputError, match="pipe.toml"):
        os.mkfifo(tmp_path / "pipe.toml")
        Grid.read(tmp_path / "pipe.toml", tmp_path)
    with pytest.raises(InputError, match="/dev/zero"):
        list(read_corpus(["/dev/zero"]))


def test_a_pipe_that_is_open_already_is_read():
    reading, writing = os.pipe()
    os.write(writing, '{"question": "누가?", "answers": ["이순신"]}\n'.encode())
    os.close(writing)
    assert [question.text for question in read_questions(f"/dev/fd/{reading}")] == ["누가?"]
    os.close(reading)
