"""The extractive reader: any encoder that marks where an answer starts and ends, over all passages of a question together."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from kofid.devices import seed_everything
from kofid.errors import InputError
from kofid.korean.answer_match import normalize_robust
from kofid.language import say, setting
from kofid.reader.extractive.windows import Window, cut_windows, pad_windows
from kofid.reader.tokenizers import open_tokenizer
from kofid.types import Answer, Hit, Passage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_ANSWERS = 5
_SETTINGS = "extractive.json"
_HEAD = "qa_outputs."


@dataclass(frozen=True, slots=True)
class Spans:
    """How spans are read: tokens of a window, tokens that windows share, tokens of the longest answer, and the norm.

    With ``shared`` the scores of all windows are one distribution as they are: for a model trained so ("shared
    normalization", Clark and Gardner 2018, "Simple and Effective Multi-Paragraph Reading Comprehension"; over passages that
    were searched for, Wang et al. 2019, "Multi-passage BERT"), or one that never learned to refuse. With ``window`` a span
    counts by how far it is above its own window's "no answer": for a model trained window by window to refuse (Alberti et
    al. 2019, "A BERT Baseline for the Natural Questions").
    """

    max_tokens: int = 384
    stride: int = 128
    max_answer_tokens: int = 30
    norm: Literal["shared", "window"] = "shared"


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one window: the score of "no answer", the log of the summed exp of all spans' scores, and the best spans.

    ``best`` holds (score, first token, last token), best first. A span's score is its start's logit plus its end's.
    """

    none: float
    total: float
    best: list[tuple[float, int, int]]


def score_spans(
    starts: torch.Tensor, ends: torch.Tensor, inside: torch.Tensor, none: Sequence[int], longest: int, n_best: int = 20
) -> list[Scores]:
    """Return the scores of windows whose logits are ``starts`` and ``ends`` (n_windows, n_tokens).

    Spans are of at most ``longest`` tokens, start and end being ``inside`` (n_windows, n_tokens), bool; ``none`` is where
    each window's "no answer" stands.
    """
    n_windows, n_tokens = starts.shape
    longest = min(longest, n_tokens)
    rows = torch.arange(n_windows)
    nothing = (starts + ends)[rows, torch.tensor(none)].tolist()
    starts, ends = starts.masked_fill(~inside, -torch.inf), ends.masked_fill(~inside, -torch.inf)
    ends = torch.cat([ends, ends.new_full((n_windows, longest - 1), -torch.inf)], dim=1)
    # Row i of a window: the spans from token i that are 1, 2, ... tokens long.
    spans = (starts[:, :, None] + ends.unfold(1, longest, 1)).flatten(1)
    totals = spans.logsumexp(1).tolist()
    values, places = spans.topk(min(n_best, spans.shape[1]))
    scores = []
    for row in range(n_windows):
        pairs = zip(values[row].tolist(), places[row].tolist(), strict=True)
        best = [(v, p // longest, p // longest + p % longest) for v, p in pairs if math.isfinite(v)]
        scores.append(Scores(nothing[row], totals[row], best))
    return scores


def normalize(scores: Sequence[Scores], norm: str) -> tuple[list[list[float]], float]:
    """Return the probabilities of each window's best spans, and that of no answer, in one distribution over all windows.

    ``shared``: the softmax over all spans and "no answers" of all windows. ``window``: exp(span - none) is the odds of the
    span against its window's "no answer"; if at most one window holds the answer, the softmax over all those differences
    and one 0, for none, is the chance that it is this span.
    """
    shifts = [s.none if norm == "window" else 0.0 for s in scores]
    nothing = [0.0] if norm == "window" else [s.none for s in scores]
    logs = [s.total - shift for s, shift in zip(scores, shifts, strict=True)] + nothing
    total = torch.tensor(logs, dtype=torch.float64).logsumexp(0).item()
    shares = [[math.exp(v - shift - total) for v, _, _ in s.best] for s, shift in zip(scores, shifts, strict=True)]
    return shares, sum(math.exp(v - total) for v in nothing)


class ExtractiveReader:
    """Answers with spans of the first ``n_context`` hits; the passage's text alone is read, not its title.

    With ``abstain`` there is no answer where "no answer" is likelier than the best one. A reader never changes; several
    threads may ask it at once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        spans: Spans = Spans(),
        *,
        n_context: int = 10,
        batch_size: int = 16,
        abstain: bool = False,
    ) -> None:
        _refuse_unfit(tokenizer)
        self.model: Final = model.eval()
        self.tokenizer: Final = tokenizer
        self.spans: Final = spans
        self.n_context: Final = n_context
        self.batch_size: Final = batch_size
        self.abstain: Final = abstain
        self._tokenizing: Final = Lock()  # windows are cut by settings that change the tokenizer

    @classmethod
    def load(
        cls,
        directory: str,
        *,
        device: torch.device | None = None,
        n_context: int = 10,
        spans: Spans | None = None,
        new_head: bool = False,
        seed: int = 1,
        abstain: bool = False,
    ) -> ExtractiveReader:
        """Open a saved reader or any encoder checkpoint (safetensors only, no code of its own); raise InputError.

        ``spans`` stands in for how the reader was saved. With ``new_head`` a checkpoint that never learned to answer gets
        an untrained output layer, which is for training only; without, it is refused.
        """
        tokenizer = open_tokenizer(directory)
        _refuse_unfit(tokenizer)
        model = _open_model(directory, new_head, seed)
        if model.get_input_embeddings().num_embeddings < len(tokenizer):
            raise InputError(
                say(
                    f"'{directory}': 토크나이저의 어휘 {len(tokenizer)}개가 모델의 것보다 많습니다",
                    f"'{directory}': the tokenizer has {len(tokenizer)} entries, more than the model",
                )
            )
        spans = spans or _stored_spans(Path(directory))
        return cls(model.to(device or "cpu"), tokenizer, spans, n_context=n_context, abstain=abstain)

    def save(self, directory: Path) -> None:
        """Write model (safetensors), tokenizer and how spans are read."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        text = json.dumps(asdict(self.spans), indent=2) + "\n"
        (directory / _SETTINGS).write_text(text, encoding="utf-8")

    @property
    def max_tokens(self) -> int:
        """Tokens of a window: what is asked for, or what the model has positions for (RoBERTa's begin after its padding)."""
        config = self.model.config
        positions = getattr(config, "max_position_embeddings", None) or self.spans.max_tokens + 1
        padding: int | None = getattr(config, "pad_token_id", None)
        return min(self.spans.max_tokens, int(positions) - (padding or 0) - 1)

    def read(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        """Return at most 5 distinct answers, best first, with their places in the passages.

        A confidence is the answer's probability among all spans of all windows and "no answer". Answers that differ only in
        brackets and spaces are one, and so is a span that two windows share: their probabilities are added, and the
        likeliest place is given.
        """
        passages = [hit.passage for hit in hits[: self.n_context]]
        windows = self.windows(question, passages) if question.strip() else []
        if not windows:
            return []
        scores = self._score(windows)
        shares, none = normalize(scores, self.spans.norm)
        candidates = [
            (share, window, start, end)
            for window, window_scores, probabilities in zip(windows, scores, shares, strict=True)
            for (_, start, end), share in zip(window_scores.best, probabilities, strict=True)
        ]
        answers = _merge(sorted(candidates, key=lambda span: -span[0]), passages)
        if self.abstain and (not answers or answers[0].confidence < none):
            return []
        return answers[:MAX_ANSWERS]

    def windows(self, question: str, passages: Sequence[Passage]) -> list[Window]:
        """Return the windows that the model reads."""
        with self._tokenizing:
            return cut_windows(self.tokenizer, question, passages, self.max_tokens, self.spans.stride)

    def batch(self, windows: Sequence[Window]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the model's inputs (n_windows, n_tokens), and which tokens are the passage's.

        Segments (token types) only where the tokenizer gives them to a model and the model has two: a RoBERTa's tokenizer
        may not, and klue/roberta, which has one, comes with BERT's, which does.
        """
        has_types = "token_type_ids" in self.tokenizer.model_input_names
        with_types = has_types and getattr(self.model.config, "type_vocab_size", 0) > 1
        return pad_windows(windows, self.tokenizer.pad_token_id or 0, with_types=with_types)

    @torch.inference_mode()
    def _score(self, windows: Sequence[Window]) -> list[Scores]:
        scores = []
        for start in range(0, len(windows), self.batch_size):
            part = windows[start : start + self.batch_size]
            inputs, inside = self.batch(part)
            output = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
            starts, ends = output.start_logits.float().cpu(), output.end_logits.float().cpu()
            scores += score_spans(starts, ends, inside, [w.none for w in part], self.spans.max_answer_tokens)
        return scores


def _merge(candidates: Sequence[tuple[float, Window, int, int]], passages: Sequence[Passage]) -> list[Answer]:
    """Return the distinct answers of candidate spans (best first), each with its summed probability, best first."""
    best: dict[str, Answer] = {}
    sums: dict[str, float] = {}
    for share, window, start, end in candidates:
        passage = passages[window.passage]
        first, last = window.characters(start, end)
        key = normalize_robust(passage.text[first:last])
        if key:
            best.setdefault(key, Answer(passage.text[first:last], share, passage, first, last))
            sums[key] = sums.get(key, 0.0) + share
    answers = [replace(answer, confidence=min(1.0, sums[key])) for key, answer in best.items()]
    return sorted(answers, key=lambda answer: -answer.confidence)


def _stored_spans(directory: Path) -> Spans:
    """Return how a saved reader reads spans, or what is usual; raise InputError."""
    path = directory / _SETTINGS
    if not path.is_file():
        return Spans()
    try:
        spans = Spans(**json.loads(path.read_text(encoding="utf-8")))
        counts = (spans.max_tokens, spans.max_answer_tokens, spans.stride + 1)
        if spans.norm in ("shared", "window") and all(type(n) is int and n > 0 for n in counts):
            return spans
    except (ValueError, TypeError, RecursionError):
        pass  # told below
    raise InputError(say(f"{path}: 읽을 수 없는 설정입니다", f"{path}: settings that make no sense"))


def _refuse_unfit(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise InputError for a tokenizer that does not tell characters, or has no token to stand for "no answer"."""
    if not tokenizer.is_fast:
        raise InputError(
            say(
                f"토크나이저 {type(tokenizer).__name__}은(는) 토큰의 자리를 알려 주지 않습니다. 빠른 토크나이저(tokenizer.json)가 "
                "있는 체크포인트를 쓰세요.",
                f"tokenizer {type(tokenizer).__name__} cannot tell where its tokens stand; "
                "take a checkpoint with a fast one (tokenizer.json)",
            )
        )
    if tokenizer.cls_token_id not in tokenizer("?", "?")["input_ids"]:
        raise InputError(
            say(
                f"토크나이저 {type(tokenizer).__name__}은(는) CLS 토큰을 쓰지 않습니다. BERT, RoBERTa, ELECTRA 같은 인코더를 쓰세요.",
                f"tokenizer {type(tokenizer).__name__} makes no CLS token; take an encoder such as BERT, RoBERTa or ELECTRA",
            )
        )


def _open_model(name: str, new_head: bool, seed: int) -> PreTrainedModel:
    """Open an encoder with an output layer for spans; raise InputError where that layer, or any other, is missing."""
    from safetensors import SafetensorError
    from transformers import AutoModelForQuestionAnswering

    if new_head:
        seed_everything(seed)
    options: dict[str, Any] = {
        "dtype": torch.float32,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    try:
        model, info = AutoModelForQuestionAnswering.from_pretrained(name, num_labels=2, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            say(f"리더 '{name}'을(를) 열 수 없습니다: {error}", f"reader '{name}' cannot be opened: {error}")
        ) from error
    missing = sorted(info["missing_keys"])
    if any(not key.startswith(_HEAD) for key in missing):
        raise InputError(say(f"'{name}'에 {missing[0]}이(가) 없습니다", f"'{name}' lacks {missing[0]}"))
    if missing and not new_head:
        training = f"{setting('reader', 'extractive')} {setting('model', name)}"
        raise InputError(
            say(
                f"'{name}'은(는) 답의 자리를 배운 적이 없습니다. 먼저: kofid train-reader {training}",
                f"'{name}' never learned to mark answers; first: kofid train-reader {training}",
            )
        )
    return model
