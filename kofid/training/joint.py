"""Training the joint reader: which window answers, and where, all windows of a question weighed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from kofid.encoder.pieces import PieceTokenizer
from kofid.encoder.session import GRAPH, TOKENIZER
from kofid.errors import InputError
from kofid.korean.answer_match import find_answer, has_answer
from kofid.korean.kiwi import analyze_many
from kofid.language import say
from kofid.reader.joint.model import JointModel, Scores
from kofid.reader.joint.reader import HEADS
from kofid.reader.joint.windows import (
    PreparedPassage,
    PreparedQuestion,
    Row,
    make_row,
    prepare_passage,
    prepare_question,
    promising_windows,
)
from kofid.training.data import is_positive, rows_dataset
from kofid.training.encoder_export import export_encoder, import_encoder
from kofid.training.options import Notes, TrainOptions, no_notes
from kofid.training.trainer import train
from kofid.types import Example, OnStep, Passage, Progress, silent

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import BertModel

# Windows without the answer that are kept of each question to draw from.
_NEGATIVES = 16
# Windows that are looked at to see how large a model's channels are.
_SAMPLED = 64
# Rows are encoded in so many groups of like length, so that little is padded.
_LENGTH_GROUPS = 4


def joint_dataset(
    tokenizer: PieceTokenizer, examples: Sequence[Example], *, progress: Progress = silent, notes: Notes = no_notes
) -> Dataset:
    """Return the questions whose answer stands in a gold passage, with windows that have it and windows that do not.

    Passages that say the answer but are not gold are left out: nobody knows whether they answer. A row holds ``question``,
    and of G gold and N other windows ``ids``, ``types``, ``firsts`` and ``lasts`` (where a span may start and end) and,
    empty for the others, ``starts`` and ``ends`` (of the answer), numbers of pieces all. Raises InputError where there is no row.
    """
    prepared = _prepare_passages(tokenizer, examples, progress)
    morphemes = analyze_many([example.question.text for example in examples])
    rows = []
    for example, found in zip(examples, morphemes, strict=True):
        question = prepare_question(tokenizer, example.question.text, found)
        row = _training_row(tokenizer, example, question, prepared)
        if row is not None:
            rows.append(row)
    needed = say(
        "답이 든 정답 패시지와 답이 없는 글이 모두", "a gold passage that says the answer, and text that does not"
    )
    return rows_dataset(rows, len(examples), needed, notes)


def sample_rows(dataset: Dataset) -> list[tuple[list[int], list[int]]]:
    """Return ids and types of some windows of a ``joint_dataset``: what a reader of it meets."""
    step = max(1, len(dataset) // _SAMPLED)
    golds = [dataset[at]["gold"][0] for at in range(0, len(dataset), step)]
    return [(window["ids"], window["types"]) for window in golds]


def _prepare_passages(
    tokenizer: PieceTokenizer, examples: Sequence[Example], progress: Progress
) -> dict[Passage, PreparedPassage]:
    passages = list(dict.fromkeys(hit.passage for example in examples for hit in example.hits))
    shown = progress(passages, say("패시지 분석", "analysing passages"), len(passages))
    titles, texts = analyze_many([p.title for p in passages]), analyze_many([p.text for p in passages])
    return {p: prepare_passage(tokenizer, p, title, text) for p, title, text in zip(shown, titles, texts, strict=True)}


def _training_row(
    tokenizer: PieceTokenizer, example: Example, question: PreparedQuestion, prepared: dict[Passage, PreparedPassage]
) -> dict[str, Any] | None:
    answers = example.question.answers
    chosen: list[PreparedPassage] = []
    spans: dict[int, list[tuple[int, int]]] = {}
    for hit in example.hits:
        passage = prepared[hit.passage]
        if is_positive(example.question, hit.passage):
            spans[len(chosen)] = answer_pieces(passage, answers)
            chosen.append(passage)
        elif not has_answer(hit.passage.text, answers):
            chosen.append(passage)
    if not any(spans.values()):
        return None
    gold = [
        _labelled(make_row(tokenizer, question, chosen[number], window), chosen[number], inside)
        for number, places in spans.items()
        for window in chosen[number].windows
        if (inside := [(a, b) for a, b in places if window[0] <= a and b <= window[1]])
    ]
    others = [
        (number, window)
        for number, window in promising_windows(question, chosen, 3 * _NEGATIVES)
        if not any(window[0] < b and a < window[1] for a, b in spans.get(number, ()))
    ][:_NEGATIVES]
    negative = [_labelled(make_row(tokenizer, question, chosen[n], w), chosen[n], []) for n, w in others]
    return {"question": example.question.text, "gold": gold, "negative": negative} if gold and negative else None


def answer_pieces(prepared: PreparedPassage, answers: Sequence[str]) -> list[tuple[int, int]]:
    """Return the (first, end) pieces of every place where a passage says an answer, between edges that a span may have."""
    pieces, text = prepared.pieces, prepared.passage.text
    firsts = {int(character): piece for piece, character in enumerate(pieces.start) if pieces.first[piece]}
    lasts = {int(character): piece + 1 for piece, character in enumerate(pieces.end) if pieces.last[piece]}
    places = {place for answer in answers for place in find_answer(text, answer)}
    if not places:
        places = {(at, at + len(a)) for answer in answers if (a := answer.strip()) and (at := text.find(a)) >= 0}
    return sorted((firsts[a], lasts[b]) for a, b in places if a in firsts and b in lasts)


def _labelled(row: Row, prepared: PreparedPassage, spans: Sequence[tuple[int, int]]) -> dict[str, Any]:
    first, end = row.window
    pieces = prepared.pieces.cut(first, end)
    offset = row.text - first
    return {
        "ids": row.ids.tolist(),
        "types": row.types.tolist(),
        "firsts": (row.text + np.flatnonzero(pieces.first)).tolist(),
        "lasts": (row.text + np.flatnonzero(pieces.last)).tolist(),
        "starts": sorted({a + offset for a, _ in spans}),
        "ends": sorted({b - 1 + offset for _, b in spans}),
    }


# --- batches and loss ------------------------------------------------------------------------------------------------


def draw_windows(row: dict[str, Any], seed: int, epoch: int, n_negatives: int) -> list[dict[str, Any]]:
    """Return a gold window of a question and some others, by chance, but the same ones for the question in the same epoch."""
    random = Random(f"{seed} {epoch} {row['question']}")
    others = row["negative"]
    return [random.choice(row["gold"]), *random.sample(others, min(n_negatives, len(others)))]


def joint_batch(groups: Sequence[Sequence[dict[str, Any]]], pad: int) -> dict[str, Any]:
    """Return the windows of several questions as tensors: ``parts``, of like length each, and to which ``groups`` they belong.

    Each part has (B, n): ``ids``, ``types``, ``attended``; masks ``may_start``, ``may_end``, ``starts``, ``ends``; and (B,)
    ``group``.
    """
    windows = sorted(
        ((number, window) for number, group in enumerate(groups) for window in group),
        key=lambda pair: len(pair[1]["ids"]),
    )
    size = -(-len(windows) // _LENGTH_GROUPS)
    return {"parts": [_part(windows[at : at + size], pad) for at in range(0, len(windows), size)]}


def _part(windows: Sequence[tuple[int, dict[str, Any]]], pad: int) -> dict[str, torch.Tensor]:
    shape = (len(windows), max(len(window["ids"]) for _, window in windows))
    part = {"ids": torch.full(shape, pad), "types": torch.zeros(shape, dtype=torch.long)}
    masks = {"may_start": "firsts", "may_end": "lasts", "starts": "starts", "ends": "ends"}
    part |= {name: torch.zeros(shape, dtype=torch.bool) for name in ("attended", *masks)}
    for row, (_, window) in enumerate(windows):
        length = len(window["ids"])
        part["ids"][row, :length] = torch.tensor(window["ids"])
        part["types"][row, :length] = torch.tensor(window["types"])
        part["attended"][row, :length] = True
        for name, key in masks.items():
            part[name][row, window[key]] = True
    return part | {"group": torch.tensor([number for number, _ in windows])}


def joint_loss(parts: Sequence[dict[str, torch.Tensor]], scores: Sequence[Scores]) -> torch.Tensor:
    """Return the mean over questions of three losses.

    Of the answer's start and of its end: -log of the share that all places of the answer have among all places of all
    windows of the question. Of relevance: whether each window has the answer, and which of them has it.
    """
    group = torch.cat([part["group"] for part in parts])
    relevance = torch.cat([score.relevance for score in scores])
    has_it = torch.cat([part["starts"].any(1) for part in parts])
    n_groups = int(group.max()) + 1
    total = binary_cross_entropy_with_logits(relevance, has_it.float())
    for number in range(n_groups):
        mine = group == number
        total = total + cross_entropy(relevance[mine][None], has_it[mine].int().argmax()[None]) / n_groups
    for side, may, gold in (("start", "may_start", "starts"), ("end", "may_end", "ends")):
        logits = [getattr(score, side) for score in scores]
        all_places = _group_sums(logits, [part[may] for part in parts], parts, n_groups)
        gold_places = _group_sums(logits, [part[gold] for part in parts], parts, n_groups)
        total = total + (all_places - gold_places).mean()
    return total


def _group_sums(
    logits: Sequence[torch.Tensor],
    masks: Sequence[torch.Tensor],
    parts: Sequence[dict[str, torch.Tensor]],
    n_groups: int,
) -> torch.Tensor:
    """Return, (n_groups,), the log of the sum of exponentials of the logits under the masks of each group."""
    values = torch.cat([logit[mask] for logit, mask in zip(logits, masks, strict=True)])
    owners = torch.cat([part["group"][:, None].expand_as(mask)[mask] for part, mask in zip(parts, masks, strict=True)])
    return torch.stack([values[owners == number].logsumexp(0) for number in range(n_groups)])


# --- training --------------------------------------------------------------------------------------------------------


def open_joint(folder: str, *, seed: int) -> tuple[JointModel, PieceTokenizer]:
    """Return a joint reader's model to train, and its pieces: of a joint reader, or with fresh heads of a BERT encoder.

    An encoder is a folder with a checkpoint of Transformers' BertModel and a Unigram ``tokenizer.json``
    (``resources/recipes/encoder.py``). Its word vectors stay as they are. Raises InputError for anything else.
    """
    from kofid.devices import seed_everything

    path = Path(folder)
    try:
        tokenizer = PieceTokenizer.load(path / TOKENIZER)
        seed_everything(seed)
        if (path / GRAPH).is_file():
            encoder, heads = import_encoder(path)
            model = JointModel(encoder)
            model.load_state_dict(heads, strict=False)
        else:
            model = JointModel(_fresh_encoder(folder))
    except Exception as error:  # the libraries have errors of many kinds
        raise InputError(
            say(
                f"'{folder}'은(는) joint 리더도, 그 인코더(BertModel과 Unigram tokenizer.json)도 아닙니다: {error}",
                f"'{folder}' is no joint reader, nor an encoder for one (BertModel and a Unigram tokenizer.json): {error}",
            )
        ) from error
    model.encoder.embeddings.word_embeddings.weight.requires_grad_(False)
    return model, tokenizer


def _fresh_encoder(folder: str) -> BertModel:
    from transformers import BertModel

    encoder = BertModel.from_pretrained(
        folder, add_pooling_layer=False, attention_probs_dropout_prob=0.0, use_safetensors=True
    )
    with torch.no_grad():  # the second type, which no text had, begins as the first
        types = encoder.embeddings.token_type_embeddings.weight
        types[1] = types[0]
    return encoder


@dataclass(frozen=True)
class TrainedJoint:
    """A joint reader's model, the file that its pieces are from, and rows to see what it reads; can be written to a directory."""

    model: JointModel
    tokenizer: Path
    rows: Sequence[tuple[Sequence[int], Sequence[int]]]

    def save(self, directory: Path) -> None:
        """Write what ``JointReader.load`` opens."""
        heads = {name: values for name, values in self.model.state_dict().items() if name in HEADS}
        export_encoder(self.model.encoder, directory, self.tokenizer, self.rows, heads)


def fit_joint(
    model: JointModel,
    dataset: Dataset,
    options: TrainOptions,
    checkpoints: Path,
    *,
    pad: int,
    n_negatives: int = 1,
    resume: bool = False,
    keep_checkpoints: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``model`` in place; see ``train``."""
    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        drawn = [draw_windows(row, options.seed, epoch, n_negatives) for row in rows]
        batch = joint_batch(drawn, pad)
        return batch | {"labels": torch.zeros(len(rows))}

    def loss(module: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        device = next(module.parameters()).device
        parts = [{name: values.to(device) for name, values in part.items()} for part in inputs["parts"]]
        scores = [module(part["ids"], part["types"], part["attended"]) for part in parts]
        return joint_loss(parts, scores)

    return train(
        model,
        dataset,
        collate,
        loss,
        options,
        checkpoints,
        on_epoch=set_epoch,
        resume=resume,
        keep_checkpoints=keep_checkpoints,
        on_step=on_step,
    )
