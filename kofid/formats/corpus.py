"""Corpora: whatever holds Korean text, as passages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from kofid.errors import InputError
from kofid.formats import squad
from kofid.formats.documents import documents_in, is_document, read_document
from kofid.formats.json_shapes import renewed
from kofid.formats.passage_split import PASSAGE_WORDS, split_article
from kofid.formats.records import Record, read_records, skip_or_raise, text_field
from kofid.language import say
from kofid.types import Passage

# A file holds whole articles when more than 1 in 100 of its first texts is longer than any passage should be.
_SNIFFED = 1_000
_ARTICLE_WORDS = 500
_ARTICLE_SHARE = 0.01


def read_corpus(
    sources: Sequence[str],
    *,
    split: bool | None = None,
    passage_words: int = PASSAGE_WORDS,
    encoding: str | None = None,
    skipped: list[str] | None = None,
) -> Iterator[Passage]:
    """Yield the passages of several files, cleaned, ids unique over all of them.

    Reads documents (see ``kofid.formats.documents``) and folders of them, passage and article JSONL, SQuAD/KorQuAD JSON,
    FiD/DPR JSON (``ctxs``), DPR's ``psgs_w100.tsv``, a BEIR folder's ``corpus.jsonl``, and a mapping from id to document.
    ``split`` says whether texts are whole articles to be cut into passages of about ``passage_words`` words; by default
    documents are, and for other files that is found out from the first texts. Given a list ``skipped``, a bad record or
    document is left out and its error appended there. Raises InputError naming file and line.

    >>> from kofid.storage.bundled import resource
    >>> next(read_corpus([str(resource("demo/passages.jsonl"))])).title
    '훈민정음'
    """
    seen: dict[str, str] = {}
    for source in chain.from_iterable(map(files_of, sources)):
        before = len(seen)
        for place, passage in _passages(source, split, passage_words, encoding, skipped):
            if passage.id in seen:
                known = seen[passage.id]
                message = say(
                    f"{place}: id '{passage.id}'가 이미 {known}에 있습니다",
                    f"{place}: id '{passage.id}' is already at {known}",
                )
                skip_or_raise(InputError(message), skipped)
                continue
            seen[passage.id] = place
            yield passage
        if len(seen) == before and not (skipped is not None and is_document(source)):
            message = say(
                f"{source}: 비어 있습니다. 쓸 수 있는 패시지가 하나도 없습니다.", f"{source}: empty, no usable passages"
            )
            raise InputError(message)


def _passages(
    source: str, split: bool | None, words: int, encoding: str | None, skipped: list[str] | None
) -> Iterator[tuple[str, Passage]]:
    texts = _texts(source, encoding, skipped)
    head = list(islice(texts, _SNIFFED))
    if split is None and is_document(source):
        split = True
    if split is None:
        long = sum(len(passage.text.split()) > _ARTICLE_WORDS for _, passage in head)
        split = long > _ARTICLE_SHARE * len(head)
    for place, passage in chain(head, texts):
        if split:
            yield from ((place, piece) for piece in split_article(passage, words))
        else:
            yield place, passage


def files_of(source: str) -> Iterator[str]:
    """Yield the files of a folder of documents; any other source as it is. Raises InputError for a folder without any."""
    if not Path(source).is_dir() or corpus_file(source) != source:
        yield source
        return
    documents = list(documents_in(Path(source)))
    if not documents:
        raise InputError(say(f"{source}: 읽을 문서가 없는 폴더입니다", f"{source}: a folder without any document"))
    yield from documents


def _texts(source: str, encoding: str | None, skipped: list[str] | None) -> Iterator[tuple[str, Passage]]:
    if is_document(source):
        try:
            yield source, read_document(source, encoding)
        except InputError as error:
            skip_or_raise(error, skipped)
        return
    paragraphs: defaultdict[str, int] = defaultdict(int)
    contexts: set[str] = set()
    for record in read_records(corpus_file(source), encoding, skipped):
        try:
            passages = list(_record_passages(record, paragraphs, contexts))
        except InputError as error:
            skip_or_raise(error, skipped)
            continue
        yield from passages


def corpus_file(source: str) -> str:
    """Return the corpus of a BEIR folder; any other source as it is."""
    corpus = Path(source) / "corpus.jsonl"
    return str(corpus) if corpus.is_file() else source


def _record_passages(
    record: Record, paragraphs: defaultdict[str, int], contexts: set[str]
) -> Iterator[tuple[str, Passage]]:
    value = renewed(record.value) if isinstance(record.value, dict) else {}
    if squad.is_article(record):
        for passage, _ in squad.paragraphs_of(record, paragraphs):
            yield record.place, passage
    elif isinstance(value.get("ctxs"), list):
        for passage in [context_passage(Record(record.place, entry)) for entry in value["ctxs"]]:
            if passage.id not in contexts:  # many questions share a passage
                contexts.add(passage.id)
                yield record.place, passage
    else:
        yield record.place, _plain_passage(record)


def _plain_passage(record: Record) -> Passage:
    text = text_field(record, "text", "context", "contents", "document_text")
    if not text.strip():
        raise InputError(say(f"{record.place}: 'text'가 비어 있습니다", f"{record.place}: 'text' is empty"))
    passage_id = text_field(record, "id", "_id", "docid", "document_id", "curid")
    return Passage(passage_id, text_field(record, "title", required=False), text)


def context_passage(record: Record) -> Passage:
    """Return the passage of one entry of ``ctxs``; without an id, its title and text stand in for one."""
    text = text_field(record, "text")
    title = text_field(record, "title", required=False)
    passage_id = text_field(record, "id", "passage_id", "docid", required=False)
    if not passage_id:
        import hashlib

        passage_id = hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()[:16]
    return Passage(passage_id, title, text)
