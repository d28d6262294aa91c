"""A trained encoder written so that it runs without torch (graph, tokenizer, weights in bytes), and taken back to train on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kofid.encoder.graph import EncoderSizes, encoder_graph
from kofid.encoder.session import GRAPH, TOKENIZER, WEIGHTS, WORD_CODES, WORD_SCALES, read_weights
from kofid.encoder.weights import int8_columns, pack, unpack

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import BertModel

CONFIG = "config.json"
_WORDS = "embeddings.word"
# How much of a channel's size is taken from the inputs, the rest being left to the weights.
_ALPHA = 0.7
# Names of the graph's weights, by those of Transformers' BertModel.
_LAYER = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "attended": "attention.output.dense", "attended.norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense", "narrow": "output.dense", "narrow.norm": "output.LayerNorm",
}  # fmt: skip
_EMBEDDINGS = {
    "word": "word_embeddings.weight", "position": "position_embeddings.weight", "type": "token_type_embeddings.weight",
    "norm.weight": "LayerNorm.weight", "norm.bias": "LayerNorm.bias",
}  # fmt: skip


def export_encoder(
    model: BertModel,
    directory: Path,
    tokenizer: Path,
    rows: Sequence[tuple[Sequence[int], Sequence[int]]],
    heads: dict[str, Tensor] | None = None,
) -> None:
    """Write ``model`` for ``kofid.encoder.session.Encoder``, with the ``tokenizer.json`` at ``tokenizer`` and weights of ``heads``.

    ``rows`` are the ids and types of pieces as they will be read, to see how large the channels are that are to be rounded.
    Word vectors are stored in four bits, matrices of the layers as the bytes that they are multiplied in, all else in 16 bits.
    (In four bits the layers would forget: what training changes is smaller than the step from one weight to the next.)
    """
    from safetensors.numpy import save_file

    config = model.config
    sizes = EncoderSizes(
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.layer_norm_eps,
    )
    (directory / GRAPH).write_bytes(encoder_graph(sizes))
    (directory / CONFIG).write_text(config.to_json_string(), encoding="utf-8")
    shutil.copy(tokenizer, directory / TOKENIZER)
    channels = channel_sizes(model, rows)
    stored: dict[str, np.ndarray] = {}
    for name, values in _named_weights(model).items():
        layer = name.removesuffix(".weight")
        if name == _WORDS:
            stored[WORD_CODES], stored[WORD_SCALES] = pack(values)
        elif layer.startswith("layer.") and values.ndim == 2:
            if layer in channels:
                stored[f"{layer}.shrink"] = 1 / channels[layer]
            stored[name], stored[f"{layer}.scale"] = int8_columns(values * channels.get(layer, np.float32(1)))
        else:
            stored[name] = values.astype(np.float16)
    stored |= {name: values.detach().float().cpu().numpy() for name, values in (heads or {}).items()}
    save_file(stored, directory / WEIGHTS)


def channel_sizes(model: BertModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, np.ndarray]:
    """Return how large each input channel of the feed-forward layers is, beside the median channel of its layer.

    Sizes are max |x| ^ 0.7 / max |w| ^ 0.3 over rows and over the channel's weights, by the graph's name (Xiao et al. 2023,
    "SmoothQuant", equation 4, whose alpha of 0.5 left three times the error here).
    """
    import torch

    modules = dict(model.named_modules())
    layers = {
        f"layer.{number}.{name}": modules[f"encoder.layer.{number}.{_LAYER[name]}"]
        for number in range(model.config.num_hidden_layers)
        for name in ("wide", "narrow")
    }
    largest: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[Module, tuple[Tensor, ...]], None]:
        def note(_layer: Module, inputs: tuple[Tensor, ...]) -> None:
            size = inputs[0].detach().abs().amax((0, 1))
            largest[name] = torch.maximum(largest[name], size) if name in largest else size

        return note

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    training = model.training
    model.eval()
    with torch.inference_mode():
        for ids, types in rows:
            model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]))
    model.train(training)
    for hook in hooks:
        hook.remove()
    sizes = {}
    for name, layer in layers.items():
        weights = layer.weight.detach().abs().amax(0).clamp(min=1e-4)
        size = (
            largest[name].clamp(min=1e-3) ** _ALPHA / weights ** (1 - _ALPHA) if largest else torch.ones(len(weights))
        )
        sizes[name] = (size / size.median()).numpy()
    return sizes


def _named_weights(model: BertModel) -> dict[str, np.ndarray]:
    state = {name: values.detach().float().cpu().numpy() for name, values in model.state_dict().items()}
    return {name: state[key] for key, name in _graph_names(model.config.num_hidden_layers).items()}


def _graph_names(n_layers: int) -> dict[str, str]:
    """Return the graph's name of each of BertModel's weights."""
    names = {f"embeddings.{key}": f"embeddings.{name}" for name, key in _EMBEDDINGS.items()}
    for number in range(n_layers):
        for name, key in _LAYER.items():
            for part in ("weight", "bias"):
                names[f"encoder.layer.{number}.{key}.{part}"] = f"layer.{number}.{name}.{part}"
    return names


def import_encoder(directory: Path) -> tuple[BertModel, dict[str, Tensor]]:
    """Return the encoder that ``export_encoder`` wrote, as a model to train, and the weights of its heads."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig.from_json_file(str(directory / CONFIG))
    model = BertModel(config, add_pooling_layer=False)
    stored = read_weights(directory / WEIGHTS)
    names = _graph_names(config.num_hidden_layers)
    state = {key: torch.from_numpy(_floats(stored, name)) for key, name in names.items()}
    model.load_state_dict(state)
    heads = {name: values for name, values in stored.items() if not name.startswith(("layer.", "embeddings."))}
    return model, {name: torch.from_numpy(values.copy()) for name, values in heads.items()}


def _floats(stored: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return a weight in 32 bits, as ``export_encoder`` took it but for the rounding."""
    if name == _WORDS:
        return unpack(stored[WORD_CODES], stored[WORD_SCALES])
    if stored[name].dtype != np.int8:
        return stored[name].astype(np.float32)
    layer = name.removesuffix(".weight")
    matrix = stored[name].T.astype(np.float32) * stored[f"{layer}.scale"][:, None]
    return np.ascontiguousarray(matrix * stored.get(f"{layer}.shrink", np.float32(1)))
