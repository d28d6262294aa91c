"""Dense retrieval: one encoder with shared weights for questions and passages, exact search by inner product."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kofid.errors import InputError, ResourceError
from kofid.language import say
from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Vectors = npt.NDArray[np.float32]
QUESTION_TOKENS = 64
PASSAGE_TOKENS = 256


class DenseEncoder:
    """A Hugging Face encoder with pooling; the same weights encode questions and passages.

    ``pooling`` is ``mean`` over unmasked tokens or ``cls``, the first token (Karpukhin et al. 2020, section 3.1).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pooling: str = "mean") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.dimension = int(model.config.hidden_size)

    @classmethod
    def load(cls, directory: str, device: torch.device | None = None) -> DenseEncoder:
        """Open a saved encoder, or any Hugging Face encoder (mean pooling). Runs no code of the model's own."""
        from transformers import AutoModel, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            model = AutoModel.from_pretrained(directory, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise InputError(
                say(
                    f"인코더 '{directory}'을(를) 열 수 없습니다: {error}",
                    f"encoder '{directory}' cannot be opened: {error}",
                )
            ) from error
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        settings = Path(directory) / "pooling.json"
        pooling = json.loads(settings.read_text())["pooling"] if settings.is_file() else "mean"
        return cls(model.to(device).eval() if device else model.eval(), tokenizer, pooling)

    def save(self, directory: Path) -> None:
        """Write model (safetensors), tokenizer and pooling."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        (directory / "pooling.json").write_text(json.dumps({"pooling": self.pooling}) + "\n")

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` of shape (len(texts), longest), cut at ``max_tokens``."""
        limit = min(max_tokens, getattr(self.model.config, "max_position_embeddings", max_tokens) - 2)
        batch = self.tokenizer(list(texts), truncation=True, max_length=limit, padding=True, return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors of shape (batch, dimension), with gradients."""
        states: torch.Tensor = self.model(**batch).last_hidden_state  # (batch, length, dimension)
        if self.pooling == "cls":
            return states[:, 0]
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1)

    def encode(self, texts: Sequence[str], max_tokens: int = PASSAGE_TOKENS, batch_size: int = 64) -> Vectors:
        """Return float32 vectors of shape (len(texts), dimension), in the order of ``texts``."""
        import torch

        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        longest_first = sorted(range(len(texts)), key=lambda i: -len(texts[i]))  # batches of like length pad little
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                chosen = longest_first[start : start + batch_size]
                batch = self.tokenize([texts[i] for i in chosen], max_tokens)
                batch = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
                vectors[chosen] = self.embed(batch).float().cpu().numpy()
        return vectors

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        return self.encode(questions, QUESTION_TOKENS)

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        return self.encode([f"{p.title} {p.text}" for p in passages])


def weights_fingerprint(encoder: DenseEncoder) -> str:
    """Return a SHA-256 over the encoder's weights and pooling: another encoder has another fingerprint."""
    import hashlib

    import torch

    digest = hashlib.sha256(encoder.pooling.encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def import_faiss() -> Any:
    """Return the faiss module, or raise ResourceError with the line that installs it."""
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _is_installed(name)]
    if len(installed) == 2:
        raise ResourceError(
            say(
                "faiss-cpu와 faiss-gpu가 함께 깔려 있습니다. 같은 모듈을 나눠 쓰니 하나만 두세요: pip uninstall faiss-cpu faiss-gpu "
                "후 하나만 다시 설치",
                "both faiss-cpu and faiss-gpu are installed and share one module; keep one: pip uninstall faiss-cpu "
                "faiss-gpu, then install one",
            )
        )
    try:
        import faiss
    except ImportError as error:
        raise ResourceError(
            say(
                "조밀 검색에는 faiss가 필요합니다: pip install 'kofid[cpu]' (GPU: pip install 'kofid[gpu]')",
                "dense retrieval needs faiss: pip install 'kofid[cpu]' (GPU: pip install 'kofid[gpu]')",
            )
        ) from error
    return faiss


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


class DenseIndex:
    """Passage vectors in a flat faiss index: exact inner products."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, batches: Iterator[Vectors], dimension: int) -> DenseIndex:
        """Return the index of vectors given in batches of shape (n, dimension); refuse NaN and infinity."""
        index = import_faiss().IndexFlatIP(dimension)
        for vectors in batches:
            if not np.isfinite(vectors).all():
                raise InputError(
                    say(
                        "인코더가 NaN이나 무한대를 냈습니다. 모델을 확인하세요.",
                        "the encoder gave NaN or infinity; check the model",
                    )
                )
            index.add(vectors)
        return cls(index)

    def save(self, path: Path) -> None:
        """Write the faiss file; raises OSError when the disk refuses."""
        try:
            import_faiss().write_index(self._index, str(path))
        except RuntimeError as error:  # how faiss says that the disk refused
            raise OSError(str(error)) from error

    @classmethod
    def load(cls, path: Path) -> DenseIndex:
        """Open a faiss file, mapped from disk."""
        faiss = import_faiss()
        return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, vectors: Vectors, k: int) -> list[list[tuple[int, float]]]:
        """Return, for each question vector, (position, inner product) of the best ``k``, best first."""
        scores, positions = self._index.search(vectors, min(k, len(self)))
        return [
            [(int(p), float(s)) for p, s in zip(row, values, strict=True) if p >= 0]
            for row, values in zip(positions, scores, strict=True)
        ]

    def score_all(self, vector: Vectors) -> Vectors:
        """Return inner products of one question vector (dimension,) with all passages, shape (n_passages,)."""
        scores = np.empty(len(self), dtype=np.float32)
        values, positions = self._index.search(vector[None, :], len(self))
        scores[positions[0]] = values[0]
        return scores

    def score_some(self, vector: Vectors, positions: Sequence[int]) -> Vectors:
        """Return inner products with the passages at ``positions``, shape (len(positions),)."""
        chosen = np.stack([self._index.reconstruct(int(p)) for p in positions])
        scores: Vectors = chosen @ vector
        return scores
