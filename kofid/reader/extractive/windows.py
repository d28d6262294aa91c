"""Long passages cut into windows of tokens that an encoder can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kofid.errors import UsageError
from kofid.language import say
from kofid.types import Passage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION_TOKENS = 64
_LEAST_ROOM = 8


@dataclass(frozen=True, slots=True)
class Window:
    """A question and a piece of passage number ``passage`` as an encoder's input.

    Tokens ``first`` to ``last``, both included, are the passage's; ``offsets`` are each one's characters in the
    passage's text (start, end), without white space around. ``none`` is the place of the token that stands for "no
    answer", the first one of BERT.
    """

    passage: int
    ids: list[int]
    types: list[int]
    first: int
    last: int
    offsets: list[tuple[int, int]]
    none: int

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters of the passage's text from token ``start`` to token ``end`` of the input."""
        return self.offsets[start - self.first][0], self.offsets[end - self.first][1]

    def tokens(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the first and last token of the input that hold characters ``start`` to ``end``; None if not all are here."""
        inside = [i for i, (a, b) in enumerate(self.offsets, self.first) if a < b and b > start and a < end]
        if not inside or self.offsets[0][0] > start or self.offsets[-1][1] < end:
            return None
        return inside[0], inside[-1]


def cut_windows(
    tokenizer: PreTrainedTokenizerBase, question: str, passages: Sequence[Passage], max_tokens: int, stride: int
) -> list[Window]:
    """Return the windows of a question's passages, each of at most ``max_tokens`` tokens, ``stride`` of them shared.

    A passage without tokens has none. A long question is cut. Raises UsageError where no room is left for a passage.
    """
    question, n_question = _short(tokenizer, question, min(QUESTION_TOKENS, max_tokens // 2))
    room = max_tokens - n_question - tokenizer.num_special_tokens_to_add(pair=True)
    if room < _LEAST_ROOM:
        raise UsageError(say(f"창의 토큰 수 {max_tokens}: 너무 적습니다", f"{max_tokens} tokens a window: too few"))
    if not passages:
        return []
    encoded = tokenizer(
        [question] * len(passages),
        [passage.text for passage in passages],
        truncation="only_second",
        max_length=max_tokens,
        stride=min(stride, room // 2),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    windows = []
    for i, passage in enumerate(encoded["overflow_to_sample_mapping"]):
        places = [place for place, part in enumerate(encoded.sequence_ids(i)) if part == 1]
        ids, text = encoded["input_ids"][i], passages[passage].text
        offsets = [_trimmed(text, *encoded["offset_mapping"][i][place]) for place in places]
        if any(a < b for a, b in offsets):
            none = ids.index(tokenizer.cls_token_id)
            types = encoded["token_type_ids"][i]
            windows.append(Window(int(passage), ids, types, places[0], places[-1], offsets, none))
    return windows


def _short(tokenizer: PreTrainedTokenizerBase, question: str, max_tokens: int) -> tuple[str, int]:
    """Return the beginning of the question that has at most ``max_tokens`` tokens, and their number."""
    encoded = tokenizer(
        question, add_special_tokens=False, truncation=True, max_length=max_tokens, return_offsets_mapping=True
    )
    offsets = encoded["offset_mapping"]
    return question[: offsets[-1][1]] if offsets else "", len(offsets)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the offsets without white space around, which SentencePiece counts as part of a token."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), max(
        start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
    )


def pad_windows(
    windows: Sequence[Window], pad_token: int, *, with_types: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return a model's inputs, each of shape (n_windows, longest), and which tokens are the passage's, a mask so shaped."""
    shape = (len(windows), max(len(window.ids) for window in windows))
    ids, types = torch.full(shape, pad_token), torch.zeros(shape, dtype=torch.long)
    attended, inside = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length] = torch.tensor(window.ids)
        types[row, :length] = torch.tensor(window.types)
        attended[row, :length] = 1
        inside[row, window.first : window.last + 1] = torch.tensor([a < b for a, b in window.offsets])
    inputs = {"input_ids": ids, "attention_mask": attended}
    return (inputs | {"token_type_ids": types} if with_types else inputs), inside
