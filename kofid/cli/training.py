"""What the training commands share: examples from files, checkpoints beside the output."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from kofid.cli import console
from kofid.errors import UsageError
from kofid.language import say
from kofid.retrieval.modes import SearchMode
from kofid.types import Example

if TYPE_CHECKING:
    from kofid.types import OnStep

Data = Annotated[
    list[str],
    typer.Argument(
        help=say(
            "FiD JSON (ctxs), 또는 질문 파일 (이때는 -i 색인에서 패시지를 찾습니다)",
            "FiD JSON (ctxs), or question files (then passages are found in the index of -i)",
        )
    ),
]
OptionalIndex = Annotated[
    Path | None,
    typer.Option("--index", "-i", metavar="INDEX", help=say("패시지를 찾을 색인", "Index to find passages in")),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help=say("첫 보기를 보이고 훈련하지 않습니다", "Show the first example; do not train")),
]


def load_examples(
    data: list[str],
    index: Path | None,
    n_context: int,
    encoding: str | None,
    limit: int | None,
    *,
    keep_gold: bool = True,
    mode: str = "sparse",
) -> list[Example]:
    """Return the examples of FiD JSON files, or questions with passages found in ``index`` by ``mode``."""
    from kofid.formats import read_examples, read_questions

    if index is None:
        return list(islice(chain.from_iterable(read_examples(path, encoding) for path in data), limit))
    from kofid.retrieval.hybrid import open_search
    from kofid.retrieval.index import Index
    from kofid.training.data import attach_hits

    opened = Index.open(index)
    questions = list(islice(chain.from_iterable(read_questions(path, encoding) for path in data), limit))
    found: Iterator[Example] = attach_hits(
        console.progress(questions, say("패시지 찾기", "finding passages"), len(questions)),
        opened,
        n_context,
        keep_gold=keep_gold,
        search=open_search(opened, SearchMode(mode), depth=n_context),
    )
    return list(found)


def fresh_size(model: str) -> str | None:
    """Return SIZE of ``fresh:SIZE``, None for any other model name."""
    return model.removeprefix("fresh:") if model.startswith("fresh:") else None


def example_texts(examples: Sequence[Example]) -> list[str]:
    """Return all texts of the examples, for a fresh model's vocabulary."""
    return [hit.passage.text for e in examples for hit in e.hits] + [e.question.text for e in examples]


class Model(Protocol):
    """What can be written to a directory."""

    def save(self, directory: Path) -> None:
        """Write it."""
        ...


def run_training(
    output: Path,
    kind: str,
    made: dict[str, Any],
    model: Model,
    what: str,
    fit: Callable[[Path, OnStep], dict[str, float]],
) -> dict[str, float]:
    """Fit a model with progress shown, write it to ``output`` with the settings ``made``, and return its figures.

    ``fit`` takes the folder for checkpoints and the callback to call at each step; checkpoints are removed when the model
    is safe. Of the processes that ``torchrun`` starts, the first writes.
    """
    from kofid.storage.artifacts import write_artifact
    from kofid.storage.ownership import remove_claimed

    checkpoints = output.with_name(f".{output.name}.checkpoints")
    if not first_process():
        return fit(checkpoints, lambda step, steps, loss: None)
    with write_artifact(output, kind, made) as directory, console.training_progress(what) as on_step:
        made["figures"] = figures = fit(checkpoints, on_step)
        model.save(directory)
    remove_claimed(checkpoints)
    return figures


def first_process() -> bool:
    """Tell whether this is the only process of a run, or the first that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


def show_example(example: Example, n_examples: int, **more: Any) -> None:
    """Print what the first example looks like to a reader, and ``more`` about the run."""
    from kofid.reader.fid.inputs import format_input

    answers = list(example.question.answers)
    console.print_json(
        {
            "n_examples": n_examples,
            "question": example.question.text,
            "answers": answers,
            "inputs": [format_input(example.question.text, hit.passage) for hit in example.hits[:2]],
            **more,
        }
    )


def need_examples(examples: list[Example]) -> None:
    """Raise UsageError when there is nothing to train on."""
    if not examples:
        raise UsageError(say("훈련할 질문이 하나도 없습니다", "there is no question to train on"))


def report(output: Path, figures: dict[str, float], as_json: bool) -> None:
    """Print what a training run ended with, once."""
    if not first_process():
        return
    if console.wants_json(as_json):
        console.print_json({"output": str(output), **figures})
    else:
        console.note(f"{output}: " + json.dumps(figures, ensure_ascii=False))
