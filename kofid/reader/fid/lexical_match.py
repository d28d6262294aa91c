"""Lexical match: which tokens of a passage the question has too, and how much of the question their sentence has.

Readers without much pretraining must learn from little data that equal words matter; told so, they need not (exact match
and term weights as input features: Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain Questions", section 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SPACE = "▁"
# Weights of tokens are told apart in this many steps, shares of the question in a sentence in as many.
_WEIGHTS = _SHARES = 8
# A token of a passage is new or one of the question's; a token of the question is alone or in the passage.
N_FEATURES = 2 * (1 + _WEIGHTS) * _SHARES


class Pieces:
    """What is known of a vocabulary's tokens: which are the same word with and without its space, and how rare each is.

    ``same`` (n,) is the number of each token without the space before it, where there is such a token; ``weight`` (n,),
    0 to 1, grows with the logarithm of a token's rank: vocabularies are ordered by frequency, and -log p of the token
    of rank r is about log r (Zipf).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens = [str(t) for t in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
        number = {token: i for i, token in enumerate(tokens)}
        bare = [number.get(token.removeprefix(_SPACE) or token, i) for i, token in enumerate(tokens)]
        self.same = np.array(bare)
        ranks = np.minimum(np.arange(len(tokens)), self.same)
        self.weight = (np.log1p(ranks) / np.log1p(len(tokens))) ** 2
        self.weight[[*tokenizer.all_special_ids]] = 0.0
        self._begins = np.array([token.startswith(_SPACE) for token in tokens])
        self._ends = np.array([token.endswith((".", "?", "!")) for token in tokens])

    def features(self, ids: np.ndarray, n_question: int) -> np.ndarray:
        """Return a number under ``N_FEATURES`` for each token of a passage's input, (n,), question first.

        It tells question from passage, whether the other has the token and how rare that is, and how much of the
        question's weight is in the token's sentence.
        """
        words = self.same[ids]
        weight = self.weight[words]
        of_question = np.arange(len(ids)) < n_question
        in_other = np.where(of_question, np.isin(words, words[n_question:]), np.isin(words, words[:n_question]))
        shared = in_other & (weight > 0)
        level = np.where(shared, 1 + np.minimum((weight * _WEIGHTS).astype(np.int64), _WEIGHTS - 1), 0)
        share = np.zeros(len(ids))
        total = weight[np.unique(words[:n_question], return_index=True)[1]].sum()
        cuts = 1 + np.flatnonzero(self._ends[ids[:-1]] & self._begins[ids[1:]])
        bounds = [n_question, *cuts[cuts > n_question].tolist(), len(ids)]
        for start, end in zip(bounds, bounds[1:], strict=False):
            matches = np.unique(words[start:end][shared[start:end]])
            share[start:end] = self.weight[matches].sum() / max(total, 1e-9)
        step = np.minimum((share * _SHARES).astype(np.int64), _SHARES - 1)
        result: np.ndarray = (of_question * (1 + _WEIGHTS) + level) * _SHARES + step
        return result

    def as_in(self, target: np.ndarray, passages: np.ndarray) -> np.ndarray:
        """Return ``target`` with the tokens as ``passages`` have them, where they stand there in a row; else as it is.

        So 1592 after a bracket and 1592 after a space can both be copied.
        """
        n = len(target)
        if not n or len(passages) < n:
            return target
        windows = np.lib.stride_tricks.sliding_window_view(self.same[passages], n)
        rows = np.flatnonzero((windows == self.same[target]).all(1))
        return passages[rows[0] : rows[0] + n] if len(rows) else target
