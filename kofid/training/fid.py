"""Training a fusion reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from kofid.errors import UsageError
from kofid.korean.korquad import character_f1, exact_match
from kofid.language import say, setting
from kofid.reader.fid.config import ANSWER_TOKENS, PASSAGE_TOKENS
from kofid.reader.fid.inputs import encode_inputs, encode_targets, format_input, target_rows
from kofid.reader.fid.pointing import format_target
from kofid.reader.fid.reader import FiDReader
from kofid.training.data import fresh_size, reader_dataset
from kofid.training.fid_on_bert import is_bert, reader_on_encoder
from kofid.training.lora import adapted
from kofid.training.options import FreshModel, Notes, TrainOptions, no_notes
from kofid.training.tokenizers import train_tokenizer
from kofid.training.trainer import train
from kofid.types import Example, OnStep, Passage

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch import nn

    from kofid.reader.fid.batch import Batch
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.model import FusionReader

# Passages among which those that are too long are counted.
_COUNTED = 10_000
# Texts that morphemes are looked up in for a vocabulary: enough for the frequencies of some thousand pieces.
_ANALYSED = 30_000
# Words and digits around every question, passage and answer, which a reader's own texts may lack.
_FRAME = f"{format_input('', Passage('', '', ''), 0)} {format_target('', range(10))}"
# What a checkpoint may lack, and small enough to train whole.
_ADDED = ("match.", "copying.")
# Layers of cross-attention, norms too, in the decoders of T5 and GPT-2.
_CROSS = re.compile(r"^decoder\.(block\.\d+\.layer\.1|h\.\d+\.(crossattention|ln_cross_attn))\.")


def fresh_reader(
    size: str,
    texts: Sequence[str],
    variant: Variant | None = None,
    *,
    skt: bool = False,
    fresh: FreshModel | None = None,
    max_tokens: int = PASSAGE_TOKENS,
    seed: int = 1,
) -> FiDReader:
    """Return an untrained reader of a named size with a tokenizer learned from ``texts`` (see ``train_tokenizer``)."""
    from kofid.devices import seed_everything
    from kofid.reader.fid.init import fresh_reader_model

    fresh = fresh or FreshModel()
    if fresh.morphemes:
        texts = Random(seed).sample(texts, min(_ANALYSED, len(texts)))
    tokenizer = train_tokenizer([*texts, _FRAME], fresh.vocab_size, morphemes=fresh.morphemes)
    seed_everything(seed)
    model = fresh_reader_model(size, len(tokenizer), variant, skt=skt, n_decoder_layers=fresh.n_decoder_layers)
    return FiDReader(model, tokenizer, max_tokens=max_tokens)


def initial_reader(
    model: str,
    texts: Sequence[str],
    variant: Variant,
    *,
    skt: bool = False,
    decoder: str | None = None,
    fresh: FreshModel | None = None,
    max_tokens: int = PASSAGE_TOKENS,
    answer_tokens: int = ANSWER_TOKENS,
    seed: int = 1,
) -> FiDReader:
    """Return the reader to train: ``fresh:SIZE``, or one made of checkpoints (for ``skt`` a T5 or BERT and, as ``decoder``, a GPT-2).

    A BERT gets a new decoder. A fusion reader that ``model`` already is keeps its own options where ``variant`` says
    nothing; a FiDSKT among them needs no ``decoder``. Raises UsageError where kind and decoder do not go together,
    InputError for what is no model.
    """
    from kofid.reader.fid.config import Variant
    from kofid.reader.fid.weights import join, open_gpt2, open_reader_model
    from kofid.reader.tokenizers import open_tokenizer

    size = fresh_size(model)
    if size is not None:
        refuse_second_decoder(model, decoder)
        reader = fresh_reader(size, texts, variant, skt=skt, fresh=fresh, max_tokens=max_tokens, seed=seed)
        return with_answer_tokens(reader, answer_tokens)
    if is_bert(model):
        if skt and decoder is None:
            raise _lacks_decoder()
        n_layers = fresh.n_decoder_layers if fresh else None
        reader = reader_on_encoder(model, variant, decoder, n_decoder_layers=n_layers, max_tokens=max_tokens, seed=seed)
        return with_answer_tokens(reader, answer_tokens)
    start = open_reader_model(model)
    if start.joined:
        refuse_second_decoder(model, decoder)
        if not skt:
            name, kind = setting("model", model), setting("kind", "skt")
            raise UsageError(say(f"{name}은 FiDSKT입니다: {kind}", f"{name} is a FiDSKT: {kind}"))
    if decoder is not None:
        joined = join(start, open_gpt2(decoder), variant)
        reader = FiDReader(joined, open_tokenizer(model), open_tokenizer(decoder), max_tokens=max_tokens)
        return with_answer_tokens(reader, answer_tokens)
    if skt and not start.joined:
        raise _lacks_decoder()
    before = start.variant
    extended = replace(variant, match=variant.match or before.match, copying=variant.copying or before.copying)
    reader = FiDReader.load(model, variant=None if variant == Variant() else extended, max_tokens=max_tokens)
    return with_answer_tokens(reader, answer_tokens)


def _lacks_decoder() -> UsageError:
    kind, missing = setting("kind", "skt"), setting("decoder")
    return UsageError(say(f"{kind}에는 {missing}가 있어야 합니다", f"{kind} needs {missing}"))


def refuse_second_decoder(model: str, decoder: str | None) -> None:
    """Raise UsageError for a decoder beside a model that has its own: a FiDSKT, or one trained from nothing."""
    if decoder is not None:
        name, second = setting("model", model), setting("decoder", decoder)
        message = f"{name}에는 이미 디코더가 있습니다: {second}는 빼세요"
        raise UsageError(say(message, f"{name} has a decoder of its own: leave out {second}"))


def with_answer_tokens(reader: FiDReader, answer_tokens: int) -> FiDReader:
    """Return a reader of the same model and tokenizers that writes at most so many tokens."""
    return reader.with_options(decoding=replace(reader.decoding, answer_tokens=answer_tokens))


def reader_batch(reader: FiDReader, rows: Sequence[dict[str, Any]], answer_tokens: int = ANSWER_TOKENS) -> Batch:
    """Return the packed batch of rows of ``reader_dataset``; of several right answers one is drawn (torch's seed).

    Answers are cut at ``answer_tokens``.
    """
    import torch

    pointing = reader.model.variant.pointing
    passages = [
        [Passage("", title, text) for title, text in zip(row["titles"], row["texts"], strict=True)] for row in rows
    ]
    questions = [row["question"] for row in rows]
    tokens: dict[str, Any] = {"pieces": reader.pieces}
    batch = encode_inputs(reader.tokenizer, questions, passages, reader.max_tokens, pointing=pointing, **tokens)
    targets = []
    for row in rows:
        n = len(row["targets"])
        answer = row["targets"][int(torch.randint(n, ())) if n > 1 else 0]
        sources = [number for number, positive in enumerate(row["positive"], 1) if positive]
        targets.append(format_target(answer, sources if pointing else None))
    if reader.model.copying is not None:
        tokens |= {"batch": batch}
    return replace(batch, labels=encode_targets(reader.decoder_tokenizer, targets, answer_tokens, **tokens))


def draw_target(row: dict[str, Any], seed: int, epoch: int) -> str:
    """Return one of a row's right answers: by chance, but the same for a question in the same epoch.

    So it does not matter which process asks, nor after which interruption.
    """
    targets: list[str] = row["targets"]
    return Random(f"{seed} {epoch} {row['question']}").choice(targets)


def starts_random(name: str) -> bool:
    """Tell whether a parameter is new where a T5 is joined to a GPT-2: of the bridge or of cross-attention."""
    return name.startswith("bridge.") or _CROSS.search(name) is not None


def fit_fid(
    reader: FiDReader,
    examples: Sequence[Example],
    options: TrainOptions,
    checkpoints: Path,
    *,
    dev: Sequence[Example] = (),
    n_context: int = 10,
    answer_tokens: int = ANSWER_TOKENS,
    resume: bool = False,
    keep_checkpoints: bool = False,
    on_step: OnStep | None = None,
    notes: Notes = no_notes,
) -> dict[str, float]:
    """Train ``reader`` in place to write the target from each example's first ``n_context`` passages.

    With ``dev`` it ends with the weights that had the best exact match there. ``notes`` is told what is cut or left out.
    See ``train`` for the rest.
    """
    dataset = reader_dataset(examples, n_context, notes)
    note_cuts(reader, dataset, answer_tokens, notes)
    epoch = 0

    def set_epoch(number: int) -> None:
        nonlocal epoch
        epoch = number

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        drawn = [row | {"targets": [draw_target(row, options.seed, epoch)]} for row in rows]
        batch = reader_batch(reader, drawn, answer_tokens)
        return {"batch": batch, "labels": batch.labels}

    def loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        value, _ = model(inputs["batch"].to(reader.model.device))
        return value  # type: ignore[no-any-return]

    with adapted_reader(reader.model, options) as merged:

        def evaluate() -> dict[str, float]:
            with merged():
                return dev_figures(reader, dev, n_context)

        figures = train(
            reader.model,
            dataset,
            collate,
            loss,
            options,
            checkpoints,
            dev=evaluate if dev else None,
            trains_first=starts_random,
            on_epoch=set_epoch,
            resume=resume,
            keep_checkpoints=keep_checkpoints,
            on_step=on_step,
        )
    reader.model.eval()
    return figures


def note_cuts(reader: FiDReader, dataset: Dataset, answer_tokens: int, notes: Notes) -> None:
    """Tell how many answers, and which share of the passages, are longer than what is learned of them."""
    n_cut = n_passages = n_long = 0
    every = max(1, len(dataset) * len(dataset[0]["texts"]) // _COUNTED)
    for number, row in enumerate(dataset):
        lengths = map(len, target_rows(reader.decoder_tokenizer, row["targets"], answer_tokens + 1))
        n_cut += any(length > answer_tokens for length in lengths)
        if number % every == 0:
            passages = (Passage("", title, text) for title, text in zip(row["titles"], row["texts"], strict=True))
            rows = reader.tokenizer([format_input(row["question"], passage) for passage in passages])["input_ids"]
            n_passages += len(rows)
            n_long += sum(len(tokens) > reader.max_tokens for tokens in rows)
    if n_cut:
        limit = setting("answer_tokens", answer_tokens)
        notes(
            say(f"질문 {n_cut}개의 답이 {limit}에서 잘립니다", f"the answers of {n_cut} questions are cut at {limit}")
        )
    if n_long:
        limit, share = setting("max_tokens", reader.max_tokens), f"{100 * n_long / n_passages:.1f} %"
        notes(say(f"패시지의 {share}가 {limit}에서 잘립니다", f"{share} of the passages are cut at {limit}"))


@contextmanager
def adapted_reader(model: FusionReader, options: TrainOptions) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Set ``model`` up for training: gradient checkpointing and adapters, which are merged into it in the end.

    Yields a context in which it can be read with: adapters merged for a while.
    """
    model.encoder.checkpointing = options.gradient_checkpointing
    try:
        with adapted(model, options.lora, options.seed, _trained_whole(model)) as merged:
            yield merged
    finally:
        model.encoder.checkpointing = False


def _trained_whole(model: FusionReader) -> Callable[[str], bool]:
    """Return which parameters train whole beside adapters: those that were not pretrained."""
    from kofid.reader.fid.bert import BertEncoder

    new = (*_ADDED, "decoder.") if isinstance(model.encoder, BertEncoder) and not model.joined else _ADDED
    return lambda name: name.startswith(new) or (model.joined and starts_random(name))


def dev_figures(reader: FiDReader, examples: Sequence[Example], n_context: int) -> dict[str, float]:
    """Return exact match and character F1 of a reader's answers, the examples shared out among all processes."""
    import torch
    from torch import distributed

    is_distributed = distributed.is_available() and distributed.is_initialized()
    rank, n_processes = (distributed.get_rank(), distributed.get_world_size()) if is_distributed else (0, 1)
    training = reader.model.training
    candidate = reader.with_options(n_context=n_context)
    sums = torch.zeros(2, dtype=torch.float64)
    for example in examples[rank::n_processes]:
        answers = candidate.read(example.question.text, example.hits)
        said, gold = answers[0].text if answers else "", example.question.answers
        sums += torch.tensor([float(exact_match(said, gold)), character_f1(said, gold)], dtype=torch.float64)
    reader.model.train(training)
    if is_distributed:
        sums = sums.to(reader.model.device)
        distributed.all_reduce(sums)
    em, f1 = (sums / len(examples)).tolist()
    return {"em": em, "f1": f1}
