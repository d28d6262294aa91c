"""Distillation in rounds: the reader scores passages, the retriever learns from them and finds new ones.

FiD-KD (Izacard and Grave 2021b), section 3.4. A folder holds all: ``round-0`` is the retriever as it starts, each other
round its passages, scores, encoder, index and measures. What is there is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kofid.evaluation.rankings import read_measures
from kofid.experiments.settings import keep_settings, refuse_other_settings
from kofid.experiments.steps import (
    UNWATCHED,
    OnBegin,
    Step,
    Watcher,
    measure_step,
    read_all_questions,
    run_steps,
    vectors_step,
)
from kofid.formats import write_examples
from kofid.language import say
from kofid.reader.fid.config import ScoreMethod
from kofid.retrieval.hybrid import open_search
from kofid.retrieval.index import Index
from kofid.retrieval.modes import SearchMode
from kofid.storage.ownership import claim_folder
from kofid.training.options import DISTILLED, Distillation, Stage, TrainOptions
from kofid.types import Example

MODES = (SearchMode.DENSE, SearchMode.CROSS)
ROUND_MEASURES = ("hit@1", "hit@5", "hit@20", "mrr@10")
_UNTRAINED = ("fresh:", "static:")


@dataclass(frozen=True)
class RoundFigures:
    """What a round's retriever is worth on ``n`` development questions by a mode, one of MODES."""

    number: int
    mode: SearchMode
    n: int
    measures: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {"round": self.number, "mode": str(self.mode), "n": self.n, **self.measures}


@dataclass(frozen=True)
class Rounds:
    """The loop: ``n`` rounds over the training ``questions``, measured on ``dev``.

    The first passages are found in ``index`` as it is (by terms where it has no vectors), the later ones by ``mode`` with
    the vectors of the round before. ``reader`` scores the first ``n_context`` of them, and ``retriever`` learns.
    """

    folder: Path
    index: Path
    questions: Sequence[str]
    reader: str
    retriever: str
    n: int
    dev: str | None = None
    n_context: int = 10
    mode: SearchMode = SearchMode.CROSS
    score: ScoreMethod = ScoreMethod.FIRST
    dtype: str = "float32"
    distillation: Distillation = Distillation()
    options: TrainOptions = DISTILLED
    encoding: str | None = None
    limit: int | None = None

    def run(self, watcher: Watcher = UNWATCHED, on_begin: OnBegin = lambda step, done: None) -> list[RoundFigures]:
        """Do what is not done yet and return the figures of all rounds.

        ``on_begin`` is told each step before it runs, and whether it was done before. Raises UsageError where the folder
        holds rounds of other settings than these, KofidError where a step fails; the same call then goes on.
        """
        claim_folder(self.folder)
        file = self.folder / "settings.json"
        has_results = any(self.folder.glob("round-*"))
        refuse_other_settings(file, self._settings(), self.folder.name, has_results=has_results)
        keep_settings(file, self._settings())
        run_steps(self.steps(watcher), on_begin)
        return self.figures()

    def _settings(self) -> dict[str, Any]:
        """Return what every round comes from; their number may grow."""
        return {
            "index": str(self.index.resolve()),
            "questions": [str(Path(file).resolve()) for file in self.questions],
            "dev": str(Path(self.dev).resolve()) if self.dev else None,
            **{name: getattr(self, name) for name in ("reader", "retriever", "n_context", "mode", "score", "dtype")},
            **{name: getattr(self, name) for name in ("encoding", "limit")},
            **asdict(self.distillation),
            **{name: value for name, value in asdict(self.options).items() if name != "device"},
        }

    def steps(self, watcher: Watcher = UNWATCHED) -> Iterator[Step]:
        """Yield the steps in their order, those done already too."""
        claim_folder(self.folder)
        index, encoder = self.index, self.retriever
        if self.dev and not encoder.startswith(_UNTRAINED):
            yield from self._indexed(0, encoder, watcher)
        for number in range(1, self.n + 1):
            folder = self.folder / f"round-{number}"
            yield self._retrieve(number, index, folder / "passages.jsonl", watcher)
            yield self._score(number, folder / "passages.jsonl", folder / "scores.jsonl", watcher)
            yield self._train(number, encoder, folder / "scores.jsonl", folder / "encoder", watcher)
            index, encoder = folder / "index", str(folder / "encoder")
            yield from self._indexed(number, encoder, watcher)

    def _retrieve(self, number: int, index: Path, done: Path, watcher: Watcher) -> Step:
        mode = SearchMode.AUTO if number == 1 else self.mode

        def work(_resume: bool) -> None:
            search = open_search(Index.open(index), mode, device=self.options.device)
            questions = read_all_questions(self.questions, self.limit, self.encoding)
            tracked = watcher.progress(questions, say("찾는 중", "searching"), len(questions))
            write_examples(done, (Example(q, tuple(search(q.text, self.n_context))) for q in tracked))

        return Step(f"{number}: retrieve", done, work)

    def _score(self, number: int, passages: Path, done: Path, watcher: Watcher) -> Step:
        def work(_resume: bool) -> None:
            from kofid.training.distill import distill

            distill(
                passages,
                done,
                reader=self.reader,
                stage=Stage.SCORE,
                n_context=self.n_context,
                score=self.score,
                dtype=self.dtype,
                options=self.options,
                progress=watcher.progress,
                notes=watcher.notes,
            )

        return Step(f"{number}: score", done, work)

    def _train(self, number: int, encoder: str, scores: Path, done: Path, watcher: Watcher) -> Step:
        name = f"{number}: train"

        def work(resume: bool) -> None:
            from kofid.training.distill import distill

            with watcher.training(name) as on_step:
                distill(
                    scores,
                    done,
                    retriever=encoder,
                    stage=Stage.TRAIN,
                    n_context=self.n_context,
                    distillation=self.distillation,
                    options=self.options,
                    resume=resume,
                    progress=watcher.progress,
                    on_step=on_step,
                    notes=watcher.notes,
                )

        return Step(name, done, work)

    def _indexed(self, number: int, encoder: str, watcher: Watcher) -> Iterator[Step]:
        """Yield the steps that give a copy of the index an encoder's vectors and measure it."""
        folder, device = self.folder / f"round-{number}", self.options.device
        index = folder / "index"
        yield vectors_step(f"{number}: index", self.index, index, encoder, device, watcher.progress)
        if self.dev:
            for mode in MODES:
                done = folder / f"{mode}.jsonl"
                name = f"{number}: measure {mode}"
                yield measure_step(name, index, self.dev, done, mode, None, device, watcher.progress)

    def figures(self) -> list[RoundFigures]:
        """Return the figures of the rounds that have been measured: hit@1, hit@5, hit@20 and MRR@10."""
        rows = []
        for number in range(self.n + 1):
            for mode in MODES:
                file = self.folder / f"round-{number}" / f"{mode}.jsonl"
                if file.is_file():
                    questions = list(read_measures(str(file)).values())
                    n = len(questions)
                    means = {name: sum(measures[name] for measures in questions) / n for name in ROUND_MEASURES}
                    rows.append(RoundFigures(number, mode, n, means))
        return rows
