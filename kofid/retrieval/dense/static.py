"""Static vectors: an encoder without layers, which adds up one vector for each token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kofid.retrieval.dense.base import PASSAGE_TOKENS, Rows, Vectors, dense_text
from kofid.retrieval.dense.sentence_transformers import cannot_open, save_modules
from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from torch import nn

_AT_A_TIME = 4_096


class StaticEncoder:
    """The sum of a text's token vectors, scaled to length 1: no layers, and thousands of times faster than those.

    ``model`` is an ``EmbeddingBag`` (n_tokens, dimension); a token's length says how much it counts. Saved in ``bits``.
    """

    def __init__(self, model: nn.EmbeddingBag, tokenizer: Any, bits: int = 32) -> None:
        self.model = model
        self.bits = bits
        self.tokenizer = tokenizer  # of the package tokenizers
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.dimension = model.embedding_dim

    @classmethod
    def load(cls, directory: str) -> StaticEncoder:
        """Open a saved encoder; weights in 8 bits with a scale for each token are those of model2vec. Raises InputError."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        try:
            weights = load_file(str(Path(directory) / "model.safetensors"))
            tokenizer = Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))
        except (OSError, SafetensorError) as error:
            raise cannot_open(directory, error) from error
        except Exception as error:  # what tokenizers raises for a file that is none
            raise cannot_open(directory, error) from error
        if "embedding.weight" in weights:
            table = weights["embedding.weight"].float()
        elif {"embeddings", "weights"} <= weights.keys():
            table = weights["embeddings"].float() * weights["weights"].float()[:, None]
        else:
            raise cannot_open(directory, ValueError("no embeddings"))
        if len(table) < tokenizer.get_vocab_size():
            raise cannot_open(directory, ValueError(f"{tokenizer.get_vocab_size()} tokens, {len(table)} vectors"))
        return cls(torch.nn.EmbeddingBag.from_pretrained(table.clone(), freeze=False, mode="sum"), tokenizer)

    @classmethod
    def fresh(cls, tokenizer: Any, dimension: int, rarity: Vectors, seed: int = 1) -> StaticEncoder:
        """Return an untrained encoder: random directions, lengths by the ``rarity`` (n_tokens,) of tokens.

        What it gives are TF-IDF vectors projected at random, whose inner products are nearly kept (Johnson and
        Lindenstrauss 1984).
        """
        import torch

        rng = torch.Generator().manual_seed(seed)
        table = torch.randn(len(rarity), dimension, generator=rng) / dimension**0.5
        table *= torch.from_numpy(rarity / rarity.mean()).float()[:, None]
        return cls(torch.nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum"), tokenizer)

    def with_bits(self, bits: int) -> StaticEncoder:
        """Return an encoder of the same model that is saved in ``bits`` (8 or 32) a number."""
        return StaticEncoder(self.model, self.tokenizer, bits)

    def save(self, directory: Path) -> None:
        """Write vectors in 32 bits, or in 8 with a scale for each token, the tokenizer, and what sentence-transformers wants."""
        import torch
        from safetensors.torch import save_file

        directory.mkdir(parents=True, exist_ok=True)
        table = self.model.weight.detach().float().cpu()
        if self.bits == 8:
            scale = (table.abs().amax(1) / 127).clamp(min=1e-12)
            weights = {"embeddings": (table / scale[:, None]).round().to(torch.int8), "weights": scale}
        else:
            weights = {"embedding.weight": table.contiguous()}
        save_file(weights, str(directory / "model.safetensors"))
        self.tokenizer.save(str(directory / "tokenizer.json"))
        save_modules(directory, [("", "models.StaticEmbedding", {})], normalize=True, prompts=("", ""))

    def kind(self) -> dict[str, Any]:
        """Return that the vectors are static."""
        return {"pooling": "static"}

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts."""
        return [row.ids for row in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def texts(self, rows: Sequence[list[int]]) -> list[str]:
        """Return the texts of tokens."""
        return [str(self.tokenizer.decode(row)) for row in rows]

    def batch(self, rows: Rows, max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``input`` (n_tokens,), the rows one after another, and ``offsets`` (len(rows),), where each begins.

        Nothing is cut: a long text costs no more than its tokens.
        """
        import torch

        lengths = np.array([0, *map(len, rows)], dtype=np.int64)
        tokens = np.concatenate([np.empty(0, np.int64), *(np.asarray(row, dtype=np.int64) for row in rows)])
        return {"input": torch.from_numpy(tokens), "offsets": torch.from_numpy(lengths.cumsum()[:-1])}

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``batch`` of the texts' tokens."""
        return self.batch(self.pieces(texts), max_tokens)

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors of shape (batch, dimension), with gradients."""
        from torch.nn.functional import normalize

        return normalize(self.model(**batch), dim=-1)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (len(texts), dimension), in the order of ``texts``."""
        import torch

        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), _AT_A_TIME):
                batch = self.tokenize(texts[start : start + _AT_A_TIME], PASSAGE_TOKENS)
                batch = {name: tensor.to(self.model.weight.device) for name, tensor in batch.items()}
                vectors[start : start + _AT_A_TIME] = self.embed(batch).cpu().numpy()
        return vectors

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        return self.encode(questions)

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        return self.encode([dense_text(p) for p in passages])
