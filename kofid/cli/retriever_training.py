"""What ``kofid train-retriever`` does: the encoder it starts from, one training run, and cross-validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.cli import console
from kofid.cli import training as common
from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Example, Passage

if TYPE_CHECKING:
    from kofid.retrieval.dense.base import Encoder
    from kofid.training.contrast import Contrast
    from kofid.training.pairs import Pairs
    from kofid.types import OnStep
from kofid.training.trainer import TrainOptions

# Passages from which a fresh vocabulary is learned.
_SAMPLED = 120_000
_STATIC = "static:"
# Inner products of vectors of length 1 are at most 1: divided by this they can tell passages apart.
_UNIT_TEMPERATURE = 0.03
_RATE, _STATIC_RATE = 2e-4, 0.01


@dataclass(frozen=True)
class Start:
    """The encoder that training starts from: a model's name, ``fresh:SIZE`` or ``static:DIMENSION``, and its options."""

    model: str
    pooling: str | None = None
    normalize: bool | None = None
    vocab_size: int = 8_000
    bits: int = 32
    seed: int = 1

    @property
    def is_fresh(self) -> bool:
        """Whether it is untrained."""
        return self.model.startswith(_STATIC) or common.fresh_size(self.model) is not None

    def encoder(self, texts: Sequence[str]) -> Encoder:
        """Open or make the encoder; ``texts`` are for the vocabulary of an untrained one. Raises UsageError."""
        from kofid.retrieval.dense.static import StaticEncoder
        from kofid.retrieval.dense.transformer import TransformerEncoder

        encoder = self._encoder(texts)
        if isinstance(encoder, StaticEncoder):
            if self.pooling or self.normalize is not None:
                raise UsageError(
                    say("--pooling과 --normalize는 static에 없습니다", "--pooling and --normalize are not for static")
                )
            encoder.bits = self.bits
        elif isinstance(encoder, TransformerEncoder):
            encoder.pooling = self.pooling or encoder.pooling
            encoder.normalize = encoder.normalize if self.normalize is None else self.normalize
            if self.bits != 32:
                raise UsageError(say("--bits는 static에만 있습니다", "--bits is for static only"))
        return encoder

    def _encoder(self, texts: Sequence[str]) -> Encoder:
        from kofid.retrieval.dense.encoders import open_encoder
        from kofid.training.retriever import fresh_encoder, fresh_static

        if self.model.startswith(_STATIC):
            dimension = self.model.removeprefix(_STATIC)
            if not dimension.isdecimal() or not int(dimension):
                raise UsageError(
                    say(
                        f"--model {self.model}: static:차원, 보기로 static:384",
                        f"--model {self.model}: static:DIMENSION, say static:384",
                    )
                )
            return fresh_static(texts, int(dimension), vocab_size=self.vocab_size, seed=self.seed)
        size = common.fresh_size(self.model)
        if size is None:
            return open_encoder(self.model, "cpu").encoder
        return fresh_encoder(size, texts, vocab_size=self.vocab_size, seed=self.seed)


@dataclass(frozen=True)
class Job:
    """Training runs that share all but their questions. A temperature or a learning rate of 0 stands for the encoder's own."""

    start: Start
    options: TrainOptions
    contrast: Contrast
    kept: dict[str, Any]
    resume: bool = False

    def fit(
        self,
        examples: Sequence[Example],
        output: Path,
        *,
        dev: Sequence[Example] = (),
        held_out: Sequence[Example] = (),
    ) -> dict[str, float]:
        """Train on ``examples`` and write the encoder; return its figures, those on ``held_out`` by that name."""
        from kofid.training.retriever import dev_figures, train_retriever

        encoder = self.start.encoder(common.example_texts(examples))
        options, contrast = suited(encoder, self.options, self.contrast)

        def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
            how: dict[str, Any] = {"contrast": contrast, "dev": dev, "resume": self.resume, "on_step": on_step}
            figures = train_retriever(encoder, examples, options, checkpoints, **how)
            if held_out:
                figures |= {f"held_out_{name}": value for name, value in dev_figures(encoder, held_out).items()}
            return figures

        return write_encoder(encoder, output, options, {**self.kept, "contrast": asdict(contrast)}, fit)

    def fold(self, examples: Sequence[Example], output: Path, n: int) -> dict[str, float]:
        """Train ``n`` encoders, each from the start, in folders of ``output``; return the means of their figures.

        With ``resume`` those already done are kept. ``output`` also has folds.json: each fold's figures, and the
        questions held out from it.
        """
        from kofid.storage.artifacts import is_artifact, open_artifact
        from kofid.storage.files import write_file
        from kofid.storage.ownership import claim_folder
        from kofid.training.folds import folds

        if common.first_process() and output.exists() and not self.resume:
            raise UsageError(
                say(
                    f"{output}이(가) 이미 있습니다. 이어서 하려면 --resume, 아니면 지우세요.",
                    f"{output} is there already; go on with --resume, or remove it",
                )
            )
        if common.first_process():
            claim_folder(output)
        found = []
        for number, (chosen, held_out) in enumerate(folds(examples, n, self.options.seed), 1):
            path = output / f"fold-{number}"
            questions = "\n".join([str(n), *(e.question.text for e in held_out)])
            fold = {"fold": f"{number}/{n}", "held_out_sha256": hashlib.sha256(questions.encode()).hexdigest()}
            if is_artifact(path):
                settings = open_artifact(path, "encoder").settings
                if settings.get("held_out_sha256") != fold["held_out_sha256"]:
                    raise UsageError(
                        say(
                            f"{path}은(는) 다른 질문이나 다른 겹으로 만든 것입니다. {output}을(를) 지우고 다시 하세요.",
                            f"{path} was made of other questions or folds; remove {output} and start anew",
                        )
                    )
                figures = settings["figures"]
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                figures = replace(self, kept=self.kept | fold).fit(chosen, path, held_out=held_out)
            found.append({"fold": number, **figures, "held_out": [e.question.text for e in held_out]})
        if common.first_process():
            write_file(output / "folds.json", [json.dumps(row, ensure_ascii=False) + "\n" for row in found])
        names = [name for name in found[0] if name.startswith("held_out_")]
        return {"folds": n, **{name: sum(row[name] for row in found) / n for name in names}}


def raw_pairs(data: list[str], start: Start, encoding: str | None, limit: int | None) -> tuple[Encoder, Pairs]:
    """Return the encoder to train, and the passages of corpora as pairs for it."""
    from kofid.formats import read_corpus
    from kofid.training.pairs import Pairs, sample_texts

    def passages(what: str) -> Iterator[Passage]:
        return iter(console.progress(islice(read_corpus(data, encoding=encoding), limit), what, None))

    texts = sample_texts(passages(say("글 고르기", "sampling texts")), _SAMPLED, start.seed) if start.is_fresh else []
    encoder = start.encoder(texts)
    return encoder, Pairs(passages(say("글 읽기", "reading texts")), encoder.pieces)


def pretrain(
    encoder: Encoder,
    pairs: Pairs,
    output: Path,
    options: TrainOptions,
    contrast: Contrast,
    kept: dict[str, Any],
    *,
    resume: bool,
) -> dict[str, float]:
    """Train on pairs of raw text and write the encoder; return its figures."""
    from kofid.training.retriever import pretrain_retriever

    options, contrast = suited(encoder, options, contrast)

    def fit(checkpoints: Path, on_step: OnStep) -> dict[str, float]:
        return pretrain_retriever(
            encoder, pairs, options, checkpoints, contrast=contrast, resume=resume, on_step=on_step
        )

    return write_encoder(encoder, output, options, {**kept, "contrast": asdict(contrast)}, fit)


def suited(encoder: Encoder, options: TrainOptions, contrast: Contrast) -> tuple[TrainOptions, Contrast]:
    """Return options and contrast with a learning rate and a temperature that suit the kind of encoder, where they are 0."""
    kind = encoder.kind()
    static = kind["pooling"] == "static"
    rate = options.learning_rate or (_STATIC_RATE if static else _RATE)
    temperature = contrast.temperature or (_UNIT_TEMPERATURE if static or kind["normalize"] else 1.0)
    return replace(options, learning_rate=rate), replace(contrast, temperature=temperature)


def write_encoder(
    encoder: Encoder,
    output: Path,
    options: TrainOptions,
    kept: dict[str, Any],
    fit: Callable[[Path, OnStep], dict[str, float]],
    what: str | None = None,
) -> dict[str, float]:
    """Fit and write an encoder with its settings; return its figures."""
    from kofid.training.trainer import settings

    made = settings(options, **kept, **encoder.kind())
    shown = what or say("검색기 훈련", "training retriever")
    return common.run_training(output, "encoder", made, encoder, shown, fit)
