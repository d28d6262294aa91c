"""Distillation in rounds: the reader scores passages, the retriever learns from them and finds new ones.

FiD-KD (Izacard and Grave 2021b), section 3.4, each step a command of kofid. A folder holds all: ``round-0`` is the retriever as
it starts, each other round its passages, scores, encoder, index and measures. What is there is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kofid.evaluation.rankings import read_measures
from kofid.experiments.steps import Step, measure_step, vectors_step
from kofid.storage.ownership import claim_folder

MODES = ("dense", "cross")
MEASURES = ("hit@1", "hit@5", "hit@20", "mrr@10")


@dataclass(frozen=True)
class Rounds:
    """The loop: ``n`` rounds over the training ``questions``, measured on ``dev``.

    The first passages are found in ``index`` as it is (by terms where it has no vectors), the later ones by ``mode`` with the
    vectors of the round before. ``scoring`` and ``training`` are options of ``kofid distill``.
    """

    folder: Path
    index: Path
    questions: Sequence[str]
    dev: str | None
    retriever: str
    n: int
    n_context: int
    mode: str
    limit: Sequence[str]
    scoring: Sequence[str]
    training: Sequence[str]

    def steps(self) -> Iterator[Step]:
        """Yield the commands in their order, those done already too."""
        claim_folder(self.folder)
        before, encoder = self.index, self.retriever
        if not encoder.startswith(("fresh:", "static:")) and self.dev:
            yield from self._indexed(0, encoder)
        for number in range(1, self.n + 1):
            folder = self.folder / f"round-{number}"
            passages, scores, trained = folder / "passages.jsonl", folder / "scores.jsonl", folder / "encoder"
            found = ["retrieve", "-i", str(before), *self.questions, "-k", str(self.n_context), "-o", str(passages)]
            mode = "auto" if number == 1 else self.mode
            yield Step(f"{number}: retrieve", [*found, "--mode", mode, "--no-correct", *self.limit], passages)
            yield self._stage(number, "score", passages, scores, self.scoring)
            yield self._stage(number, "train", scores, trained, ["--retriever", encoder, *self.training])
            yield from self._indexed(number, str(trained))
            before, encoder = folder / "index", str(trained)

    def _stage(self, number: int, stage: str, data: Path, done: Path, options: Sequence[str]) -> Step:
        arguments = ["distill", str(data), "--stage", stage, "--n-context", str(self.n_context), *options]
        return Step(f"{number}: {stage}", [*arguments, "-o", str(done)], done)

    def _indexed(self, number: int, encoder: str) -> Iterator[Step]:
        """Yield the steps that give a copy of the index an encoder's vectors and measure it."""
        folder = self.folder / f"round-{number}"
        index = folder / "index"
        yield vectors_step(f"{number}: index", self.index, index, encoder)
        if self.dev:
            for mode in MODES:
                done = folder / f"{mode}.jsonl"
                yield measure_step(f"{number}: measure {mode}", index, self.dev, done, ["--mode", mode])

    def report(self) -> list[dict[str, float | str]]:
        """Return a row a round and mode: hit@1, hit@5, hit@20 and MRR@10 on the dev questions."""
        rows: list[dict[str, float | str]] = []
        for number in range(self.n + 1):
            for mode in MODES:
                file = self.folder / f"round-{number}" / f"{mode}.jsonl"
                if file.is_file():
                    found = list(read_measures(str(file)).values())
                    means = {name: sum(m[name] for m in found) / len(found) for name in MEASURES}
                    rows.append({"round": number, "mode": mode, "n": len(found), **means})
        return rows
