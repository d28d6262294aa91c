"""Between TREC, BEIR, FiD JSON and kofid's own JSON lines: what each file holds is found out from the file.

A model's checkpoint is told apart as well; ``kofid.reader.fid.convert`` converts it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from kofid.errors import InputError, UsageError
from kofid.formats import beir, trec
from kofid.formats.corpus import read_corpus
from kofid.formats.fid_json import read_examples, write_examples
from kofid.formats.json_shapes import question_to_json
from kofid.formats.lines import read_lines
from kofid.formats.question_files import read_questions
from kofid.formats.records import read_records
from kofid.language import say, setting
from kofid.storage.artifacts import artifact_kind, is_artifact
from kofid.storage.files import write_file, write_folder
from kofid.types import Example, Hit, Passage, Question

Kind = Literal["trec-run", "trec-qrels", "beir", "fid", "squad", "questions", "passages", "checkpoint"]
Target = Literal["trec-run", "trec-qrels", "beir", "fid", "jsonl"]
FindPassage = Callable[[str], Passage | None]


def kind_of(source: str, encoding: str | None = None) -> Kind:
    """Return what a file or folder holds, by its first line or record; raises InputError for what is none of these."""
    if beir.is_beir(source):
        return "beir"
    if _is_checkpoint(Path(source)):
        return "checkpoint"
    line = next((text for _, text in read_lines(source, encoding) if text.strip()), "")
    columns = trec.columns_of(line)
    if columns is not None and not line.lstrip().startswith(("{", "[")):
        return "trec-run" if columns == "trec-run" else "trec-qrels"
    record = next(iter(read_records(source, encoding)), None) if "\t" in line or line.lstrip()[:1] in "{[" else None
    fields = record.value if record is not None and isinstance(record.value, dict) else {}
    for kind, names in _TELLING_FIELDS.items():
        if any(name in fields for name in names):
            return kind
    raise InputError(
        say(
            f"{source}: 무슨 형식인지 알 수 없습니다 (TREC, BEIR 폴더, FiD JSON, 질문이나 패시지의 JSONL, 모델 폴더)",
            f"{source}: format not recognised (TREC, BEIR folder, FiD JSON, JSONL of questions or passages, model folder)",
        )
    )


def _is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder holds a Transformers model or a reader that kofid wrote."""
    return (folder / "config.json").is_file() or (is_artifact(folder) and artifact_kind(folder) == "reader")


_TELLING_FIELDS: dict[Kind, tuple[str, ...]] = {
    "fid": ("ctxs",),
    "squad": ("paragraphs",),
    "questions": ("question", "query"),
    "passages": ("text", "context", "contents", "document_text"),
}


@dataclass(frozen=True)
class SourceFiles:
    """Files by what they hold, read when asked for."""

    kinds: dict[str, Kind]
    encoding: str | None = None
    subset: str = beir.SUBSET

    @classmethod
    def of(cls, sources: Sequence[str], encoding: str | None = None, subset: str = beir.SUBSET) -> SourceFiles:
        """Find out what each source holds; raises UsageError for standard input, which cannot be read twice."""
        if "-" in sources:
            raise UsageError(say("표준입력(-)은 바꿀 수 없습니다. 파일로 주세요.", "give files: - cannot be converted"))
        return cls({source: kind_of(source, encoding) for source in sources}, encoding, subset)

    def __str__(self) -> str:
        return ", ".join(f"{source} ({kind})" for source, kind in self.kinds.items())

    def holding(self, *kinds: Kind) -> list[str]:
        """Return the sources of these kinds."""
        return [source for source, kind in self.kinds.items() if kind in kinds]

    def checkpoint(self) -> Path:
        """Return the model's folder that is the only source; raises UsageError where it is not."""
        if list(self.kinds.values()) != ["checkpoint"]:
            raise UsageError(
                say(
                    f"reader에는 모델 폴더 하나만 주세요. 받은 것: {self}",
                    f"reader takes one model folder and nothing else; given: {self}",
                )
            )
        return Path(next(iter(self.kinds)))

    def passages(self) -> Iterator[Passage]:
        """Yield all passages; none where no source has any."""
        sources = self.holding("passages", "squad", "beir") or self.holding("fid")
        return read_corpus(sources, split=False, encoding=self.encoding)

    @cached_property
    def qrels(self) -> trec.Qrels:
        """Relevance by question and passage: of qrels where there are any, else of the questions' gold ids."""
        return self._judged or trec.qrels_of(self._unjudged)

    @cached_property
    def _judged(self) -> trec.Qrels:
        together: trec.Qrels = {}
        qrels = [trec.read_qrels(s, self.encoding) for s in self.holding("trec-qrels")]
        for question, relevance in chain.from_iterable(q.items() for q in (*qrels, *self._beir_qrels.values())):
            together.setdefault(question, {}).update(relevance)
        return together

    @cached_property
    def _beir_qrels(self) -> dict[str, trec.Qrels]:
        return {source: beir.read_qrels(source, self.subset) for source in self.holding("beir")}

    @cached_property
    def _unjudged(self) -> list[Question]:
        questions = [q for s in self.holding("questions", "squad", "fid") for q in read_questions(s, self.encoding)]
        return questions + [q for source, qrels in self._beir_qrels.items() for q in beir.read_questions(source, qrels)]

    def questions(self) -> list[Question]:
        """Return all questions, with the gold ids of the qrels where these judge them."""
        qrels = self._judged
        return [replace(q, positive_ids=_gold(qrels[q.id])) if q.id in qrels else q for q in self._unjudged]

    def examples(self, find: FindPassage | None) -> Iterator[Example]:
        """Yield each question with the hits of a run, their passages from ``find``, else from the sources.

        Raises InputError naming a question or passage that the run has and the sources have not.
        """
        runs = {source: trec.read_run(source, self.encoding) for source in self.holding("trec-run")}
        by_id = {question.id: question for question in self._unjudged}
        if find is None:
            wanted = {p for run in runs.values() for hits in run.values() for p, _ in hits}
            find = {passage.id: passage for passage in self.passages() if passage.id in wanted}.get
        for source, run in runs.items():
            unknown = next((question_id for question_id in run if question_id not in by_id), None)
            if unknown is not None:
                raise _missing(source, say("질문", "question"), unknown)
            for question in by_id.values():
                yield Example(question, tuple(_hit(source, find, p, score) for p, score in run.get(question.id, [])))


def _gold(relevance: dict[str, int]) -> tuple[str, ...]:
    return tuple(passage for passage, value in relevance.items() if value > 0)


def _hit(source: str, find: FindPassage, passage_id: str, score: float) -> Hit:
    passage = find(passage_id)
    if passage is None:
        raise _missing(source, say("패시지", "passage"), passage_id)
    return Hit(passage, score, "file")


def _missing(source: str, what: str, name: str) -> InputError:
    return InputError(
        say(f"{source}: {what} '{name}'을(를) 찾을 수 없습니다", f"{source}: {what} '{name}' is not to be found")
    )


def guess_target(output: Path, sources: SourceFiles) -> Target | Literal["reader"]:
    """Return the format that the output's name and the sources ask for; raises UsageError where they do not tell."""
    if sources.holding("checkpoint"):
        return "reader"
    has_run = bool(sources.holding("trec-run", "fid"))
    match output.suffix:
        case ".json" | ".jsonl" if sources.holding("trec-run"):
            return "fid"
        case ".qrels":
            return "trec-qrels"
        case ".run":
            return "trec-run"
        case ".trec":
            return "trec-run" if has_run else "trec-qrels"
        case "":
            return "jsonl" if sources.holding("beir", "trec-qrels") else "beir"
    to = setting("to", "|".join(get_args(Target)))
    raise UsageError(
        say(
            f"{output}: 무엇으로 바꿀지 이름으로는 알 수 없습니다. {to} 로 알려 주세요.",
            f"{output}: the name does not tell what to write; name it by {to}",
        )
    )


def convert(sources: SourceFiles, output: Path, target: Target, find: FindPassage | None = None) -> None:
    """Write the sources as ``target``; the file or folder appears whole or not at all.

    ``find`` gives the passage of an id, for turning a run into FiD JSON. Raises InputError where the sources do not
    hold what the target needs.
    """
    _require(sources, target, find)
    if target == "trec-run":
        retrieved = (read_examples(source, sources.encoding) for source in sources.holding("fid"))
        write_file(output, trec.run_lines(chain.from_iterable(retrieved)))
    elif target == "fid":
        write_examples(output, sources.examples(find))
    elif target == "trec-qrels":
        write_file(output, trec.qrels_lines(sources.qrels))
    elif target == "beir":
        write_folder(output, beir.files(sources.passages(), sources.questions(), sources.qrels, sources.subset))
    else:
        write_folder(output, _jsonl_files(sources))


# What a target cannot do without: some source of any of the kinds.
_NEEDED: dict[Target, list[tuple[Kind, ...]]] = {
    "trec-run": [("fid",)],
    "trec-qrels": [("trec-qrels", "beir", "questions", "squad", "fid")],
    "fid": [("trec-run",), ("questions", "squad", "fid", "beir"), ("passages", "squad", "fid", "beir")],
    "beir": [("questions", "squad", "fid", "beir", "passages")],
    "jsonl": [("questions", "squad", "fid", "beir", "passages")],
}


def _require(sources: SourceFiles, target: Target, find: FindPassage | None) -> None:
    needed = _NEEDED[target][: 2 if find is not None else None]
    for kinds in needed:
        if not sources.holding(*kinds):
            names = " | ".join(kinds)
            raise UsageError(
                say(
                    f"{target}에는 {names} 가운데 하나가 더 있어야 합니다. 받은 것: {sources}",
                    f"{target} also needs one of: {names}; given: {sources}",
                )
            )
    if target == "trec-qrels" and not sources.qrels:
        raise InputError(
            say("positive_ids가 있는 질문이 하나도 없습니다", "no question has positive_ids, so there are no qrels")
        )


def _jsonl_files(sources: SourceFiles) -> dict[str, Iterable[str]]:
    files: dict[str, Iterable[str]] = {}
    if sources.holding("passages", "squad", "fid", "beir"):
        files["passages.jsonl"] = (_line({"id": p.id, "title": p.title, "text": p.text}) for p in sources.passages())
    if sources.holding("questions", "squad", "fid", "beir"):
        files["questions.jsonl"] = (_line(question_to_json(question)) for question in sources.questions())
    return files


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
