"""Encoders of questions and passages with shared weights: any Hugging Face encoder, or static embeddings.

A saved encoder is a folder that sentence-transformers opens as it is, with the same vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from kofid.errors import InputError
from kofid.language import say
from kofid.types import Passage

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Vectors = npt.NDArray[np.float32]
# The tokens of some texts.
Rows = Sequence[Sequence[int] | npt.NDArray[np.integer]]
QUESTION_TOKENS = 64
PASSAGE_TOKENS = 256
POOLINGS = ("mean", "cls", "pooler")
# Tokens, padding included, that are encoded at a time.
_TOKENS_AT_A_TIME = 8_192
# Passages that are sorted by length together.
_SORTED_AT_A_TIME = 4_096
_MODULES = "modules.json"
_PROMPTS = "config_sentence_transformers.json"


def dense_text(passage: Passage) -> str:
    """Return the text of a passage that encoders see."""
    return f"{passage.title} {passage.text}"


class Encoder(Protocol):
    """What turns texts into vectors whose inner product says how well they go together."""

    dimension: int

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, without any that frame a text."""
        ...

    def batch(self, rows: Rows, max_tokens: int) -> dict[str, torch.Tensor]:
        """Return what ``embed`` takes, on the CPU, of texts' tokens, framed and cut at ``max_tokens``."""
        ...

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> dict[str, torch.Tensor]:
        """Return what ``embed`` takes, on the CPU, of texts."""
        ...

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors of shape (batch, dimension), with gradients."""
        ...

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        ...

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        ...

    def save(self, directory: Path) -> None:
        """Write the encoder."""
        ...

    def kind(self) -> dict[str, Any]:
        """Return what of the encoder is not in its weights."""
        ...


class TransformerEncoder:
    """A Hugging Face encoder with pooling.

    ``pooling`` is ``mean`` over unmasked tokens, ``cls``, the first token (Karpukhin et al. 2020, section 3.1), or
    ``pooler``, the first token through the model's own dense layer and tanh. ``normalize`` gives vectors length 1.
    ``prompts`` stand before questions and passages ("query: ", "passage: " of E5).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str = "mean",
        *,
        normalize: bool = False,
        prompts: tuple[str, str] = ("", ""),
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.normalize = normalize
        self.prompts = prompts
        self.dimension = int(model.config.hidden_size)

    @classmethod
    def load(cls, directory: str, *, pooling: str | None = None, normalize: bool | None = None) -> TransformerEncoder:
        """Open a saved encoder, or any Hugging Face encoder; runs no code of the model's own. Raises InputError.

        ``pooling`` and ``normalize`` are the folder's own where None, mean and no where it does not say.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer, MT5EncoderModel, T5EncoderModel

        own = _own_settings(Path(directory))
        opened = {"t5": T5EncoderModel, "mt5": MT5EncoderModel}
        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
            if config.model_type in opened:
                model: Any = opened[config.model_type].from_pretrained(directory, use_safetensors=True)
            else:
                model = AutoModel.from_pretrained(directory, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise _cannot_open(directory, error) from error
        if model.config.is_encoder_decoder and config.model_type not in opened:
            model = model.get_encoder()
        return cls(
            model.eval(),
            tokenizer,
            pooling or own.get("pooling", "mean"),
            normalize=own.get("normalize", False) if normalize is None else normalize,
            prompts=own.get("prompts", ("", "")),
        )

    def save(self, directory: Path) -> None:
        """Write model (safetensors), tokenizer and what sentence-transformers wants to know."""
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        modules: list[tuple[str, str, dict[str, Any]]] = [
            ("", "models.Transformer", {}),
            (
                "1_Pooling",
                "models.Pooling",
                _pooling_settings("cls" if self.pooling != "mean" else "mean", self.dimension),
            ),
        ]
        if self.pooling == "pooler":
            _save_pooler(self.model, directory / "2_Dense")
            settings: dict[str, Any] = {"in_features": self.dimension, "out_features": self.dimension, "bias": True}
            settings["activation_function"] = "torch.nn.modules.activation.Tanh"
            modules.append(("2_Dense", "models.Dense", settings))
        limit = _limit(self.model, PASSAGE_TOKENS)
        (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}) + "\n")
        _save_modules(directory, modules, normalize=self.normalize, prompts=self.prompts)

    def kind(self) -> dict[str, Any]:
        """Return pooling, normalization and prompts."""
        return {"pooling": self.pooling, "normalize": self.normalize, "prompts": list(self.prompts)}

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, without [CLS], [SEP] or </s>."""
        rows: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return rows

    def batch(self, rows: Rows, max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` of shape (len(rows), longest), framed, cut at ``max_tokens``."""
        framed = list(self.tokenizer("")["input_ids"])
        n_before = sum(token != self.tokenizer.eos_token_id for token in framed[:1])  # T5 frames a text at its end only
        room = _limit(self.model, max_tokens) - len(framed)
        ids = [[*framed[:n_before], *map(int, row[:room]), *framed[n_before:]] for row in rows]
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def tokenize(self, texts: Sequence[str], max_tokens: int) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` of shape (len(texts), longest), cut at ``max_tokens``."""
        limit = _limit(self.model, max_tokens)
        batch = self.tokenizer(list(texts), truncation=True, max_length=limit, padding=True, return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return vectors of shape (batch, dimension), with gradients."""
        from torch.nn.functional import normalize

        output = self.model(**batch)
        states: torch.Tensor = output.last_hidden_state  # (batch, length, dimension)
        if self.pooling == "cls":
            vectors = states[:, 0]
        elif self.pooling == "pooler":
            vectors = output.pooler_output
        else:
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            vectors = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return normalize(vectors, dim=-1) if self.normalize else vectors

    def encode(self, texts: Sequence[str], max_tokens: int = PASSAGE_TOKENS) -> Vectors:
        """Return float32 vectors of shape (len(texts), dimension), in the order of ``texts``."""
        import torch

        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        device = next(self.model.parameters()).device
        limit = _limit(self.model, max_tokens)
        with torch.inference_mode():
            tokens = self.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"] if len(texts) else []
            for chosen in _alike(tokens):
                rows = self.tokenizer.pad({"input_ids": [ids for _, ids in chosen]}, return_tensors="pt")
                batch = {name: rows[name].to(device) for name in ("input_ids", "attention_mask")}
                vectors[[i for i, _ in chosen]] = self.embed(batch).float().cpu().numpy()
        return vectors

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        return self.encode([self.prompts[0] + question for question in questions], QUESTION_TOKENS)

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        return self.encode([self.prompts[1] + dense_text(p) for p in passages])


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
            raise _cannot_open(directory, error) from error
        except Exception as error:  # what tokenizers raises for a file that is none
            raise _cannot_open(directory, error) from error
        if "embedding.weight" in weights:
            table = weights["embedding.weight"].float()
        elif {"embeddings", "weights"} <= weights.keys():
            table = weights["embeddings"].float() * weights["weights"].float()[:, None]
        else:
            raise _cannot_open(directory, ValueError("no embeddings"))
        if len(table) < tokenizer.get_vocab_size():
            raise _cannot_open(directory, ValueError(f"{tokenizer.get_vocab_size()} tokens, {len(table)} vectors"))
        return cls(torch.nn.EmbeddingBag.from_pretrained(table.clone(), freeze=False, mode="sum"), tokenizer)

    @classmethod
    def fresh(cls, tokenizer: Any, dimension: int, rarity: Vectors, seed: int = 1) -> StaticEncoder:
        """Return an untrained encoder: random directions, lengths by the ``rarity`` (n_tokens,) of tokens.

        What it gives are TF-IDF vectors projected at random, whose inner products are nearly kept (Johnson and
        Lindenstrauss 1984).
        """
        import torch

        chance = torch.Generator().manual_seed(seed)
        table = torch.randn(len(rarity), dimension, generator=chance) / dimension**0.5
        table *= torch.from_numpy(rarity / rarity.mean()).float()[:, None]
        return cls(torch.nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum"), tokenizer)

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
        _save_modules(directory, [("", "models.StaticEmbedding", {})], normalize=True, prompts=("", ""))

    def kind(self) -> dict[str, Any]:
        """Return that the vectors are static."""
        return {"pooling": "static"}

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts."""
        return [row.ids for row in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

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
            for start in range(0, len(texts), _SORTED_AT_A_TIME):
                batch = self.tokenize(texts[start : start + _SORTED_AT_A_TIME], PASSAGE_TOKENS)
                batch = {name: tensor.to(self.model.weight.device) for name, tensor in batch.items()}
                vectors[start : start + _SORTED_AT_A_TIME] = self.embed(batch).cpu().numpy()
        return vectors

    def encode_questions(self, questions: Sequence[str]) -> Vectors:
        """Return vectors of questions, shape (len(questions), dimension)."""
        return self.encode(questions)

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return vectors of passages (title, then text), shape (len(passages), dimension)."""
        return self.encode([dense_text(p) for p in passages])


def load_encoder(directory: str, device: torch.device | None = None) -> Encoder:
    """Open a saved encoder or any Hugging Face encoder; raise InputError."""
    static = _module_types(Path(directory))[:1] == ["StaticEmbedding"]
    encoder: Encoder = StaticEncoder.load(directory) if static else TransformerEncoder.load(directory)
    if device is not None:
        encoder.model.to(device)
    return encoder


def weights_fingerprint(encoder: Encoder) -> str:
    """Return a SHA-256 over the encoder's weights and kind: another encoder has another fingerprint."""
    import hashlib

    import torch

    digest = hashlib.sha256(json.dumps(encoder.kind(), sort_keys=True).encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# --- texts of like length ---------------------------------------------------------------------------------------


def _alike(rows: Sequence[list[int]]) -> list[list[tuple[int, list[int]]]]:
    """Return (number, tokens) of all rows in groups of like length, each of few tokens together, padding included."""
    groups: list[list[tuple[int, list[int]]]] = []
    for i in sorted(range(len(rows)), key=lambda i: -len(rows[i])):
        longest = len(groups[-1][0][1]) if groups else 0
        if not groups or longest * (len(groups[-1]) + 1) > _TOKENS_AT_A_TIME:
            groups.append([])
        groups[-1].append((i, rows[i]))
    return groups


def _limit(model: Any, max_tokens: int) -> int:
    """Return how many tokens a text may have: at most two fewer than there are positions, of which RoBERTa keeps two."""
    return min(max_tokens, getattr(model.config, "max_position_embeddings", max_tokens + 2) - 2)


# --- folders ----------------------------------------------------------------------------------------------------


def _module_types(directory: Path) -> list[str]:
    """Return the names of the classes that sentence-transformers would make of a folder, none where it is not one."""
    try:
        return [module["type"].rpartition(".")[2] for module in json.loads((directory / _MODULES).read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _cannot_open(str(directory), error) from error


def _own_settings(directory: Path) -> dict[str, Any]:
    """Return pooling, normalization and prompts of a folder of sentence-transformers; nothing for any other."""
    types = _module_types(directory)
    if not types:
        return {}
    try:
        paths = {m["type"].rpartition(".")[2]: m["path"] for m in json.loads((directory / _MODULES).read_text())}
        own: dict[str, Any] = {"normalize": "Normalize" in types}
        if "Pooling" in paths:
            settings = json.loads((directory / paths["Pooling"] / "config.json").read_text())
            first = settings.get("pooling_mode") == "cls" or settings.get("pooling_mode_cls_token", False)
            own["pooling"] = ("pooler" if "Dense" in types else "cls") if first else "mean"
        if (directory / _PROMPTS).is_file():
            prompts = json.loads((directory / _PROMPTS).read_text()).get("prompts") or {}
            own["prompts"] = (prompts.get("query", ""), prompts.get("document") or prompts.get("passage") or "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _cannot_open(str(directory), error) from error
    return own


def _pooling_settings(pooling: str, dimension: int) -> dict[str, Any]:
    return {
        "word_embedding_dimension": dimension,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }


def _save_modules(
    directory: Path, modules: list[tuple[str, str, dict[str, Any]]], *, normalize: bool, prompts: tuple[str, str]
) -> None:
    """Write the list of modules that sentence-transformers reads, and the settings of each."""
    if normalize:
        modules = [*modules, (f"{len(modules)}_Normalize", "models.Normalize", {})]
    listed = []
    for number, (path, kind, settings) in enumerate(modules):
        (directory / path).mkdir(exist_ok=True)
        if path:
            (directory / path / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        listed.append({"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"})
    (directory / _MODULES).write_text(json.dumps(listed, indent=2) + "\n")
    known = {"prompts": dict(zip(("query", "document"), prompts, strict=True)), "similarity_fn_name": "dot"}
    (directory / _PROMPTS).write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save_pooler(model: Any, directory: Path) -> None:
    from safetensors.torch import save_file

    directory.mkdir(exist_ok=True)
    weights = {f"linear.{name}": weight.contiguous() for name, weight in model.pooler.dense.state_dict().items()}
    save_file(weights, str(directory / "model.safetensors"))


def _cannot_open(directory: str, error: Exception) -> InputError:
    return InputError(
        say(f"인코더 '{directory}'을(를) 열 수 없습니다: {error}", f"encoder '{directory}' cannot be opened: {error}")
    )
