"""The encoder without torch, against torch: the graph, 8 bits, rows and threads, and what is damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file, save_file
from support.command_line import ASKED
from transformers import BertModel

from kofid.encoder.graph import EncoderSizes, encoder_graph
from kofid.encoder.session import Encoder
from kofid.errors import CorruptArtifactError
from kofid.retrieval.index import Index
from kofid.storage.artifacts import open_artifact
from kofid.training.encoder_export import channel_sizes, export_encoder, import_encoder

SIZES = EncoderSizes(hidden=32, inner=64, n_layers=2, n_heads=2)
FILES = ["encoder.onnx", "tokenizer.json", "weights.safetensors"]
# Names of a layer's weights in the graph, and in Transformers.
LAYER = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "attended": "attention.output.dense", "attended.norm": "attention.output.LayerNorm", "wide": "intermediate.dense",
    "narrow": "output.dense", "narrow.norm": "output.LayerNorm",
}  # fmt: skip


def some_rows(n: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(4)
    lengths = [1, 2, 255, 256, *rng.integers(3, 90, size=n - 4)]
    return [(rng.integers(0, 300, size=k), rng.integers(0, 2, size=k)) for k in lengths]


ROWS = [(ids.tolist(), types.tolist()) for ids, types in some_rows(6)]


def fresh(tiny_encoder: Path) -> BertModel:
    return BertModel.from_pretrained(tiny_encoder, add_pooling_layer=False)


@pytest.fixture(scope="module")
def exported(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_encoder(fresh(tiny_encoder), folder, tiny_encoder / "tokenizer.json", ROWS)
    return folder


@pytest.fixture(scope="module")
def encoder(exported: Path) -> Encoder:
    return Encoder.load(exported)


def torch_states(model: BertModel, ids: np.ndarray, types: np.ndarray) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        inputs = {"input_ids": torch.tensor(ids)[None], "token_type_ids": torch.tensor(types)[None]}
        return model(**inputs).last_hidden_state[0].numpy()


# --- against torch --------------------------------------------------------------------------------------------


def test_the_graph_is_torchs_model(tiny_encoder: Path) -> None:
    model = fresh(tiny_encoder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)  # biases and norms that are not 0 and 1
    state = {name: values.detach().numpy() for name, values in model.state_dict().items()}
    weights = {f"embeddings.norm.{part}": state[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")}
    for n in range(2):
        for name, key in LAYER.items():
            weights[f"layer.{n}.{name}.bias"] = state[f"encoder.layer.{n}.{key}.bias"]
            matrix = state[f"encoder.layer.{n}.{key}.weight"]
            weights[f"layer.{n}.{name}.weight"] = np.ascontiguousarray(matrix.T)
    options = onnxruntime.SessionOptions()
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    session = onnxruntime.InferenceSession(
        encoder_graph(SIZES, int8=False), options, providers=["CPUExecutionProvider"]
    )
    for ids, types in some_rows():
        vectors = (
            state["embeddings.word_embeddings.weight"][ids] + state["embeddings.token_type_embeddings.weight"][types]
        )
        vectors += state["embeddings.position_embeddings.weight"][: len(ids)]
        (states,) = session.run(None, {"embeddings": vectors[None]})
        assert np.abs(states[0] - torch_states(model, ids, types)).max() < 1e-5


def test_eight_bits_are_close_to_torch(exported: Path, encoder: Encoder) -> None:
    model, heads = import_encoder(exported)
    assert heads == {} and encoder.max_pieces == 256
    for ids, types in some_rows():
        states, exact = encoder.states(ids, types), torch_states(model, ids, types)
        assert states.dtype == np.float32 and states.shape == exact.shape
        lengths = np.linalg.norm(states, axis=1) * np.linalg.norm(exact, axis=1)
        assert ((states * exact).sum(axis=1) / lengths).min() > 0.99


def test_large_channels_are_evened(tiny_encoder: Path, tmp_path: Path) -> None:
    """One channel a hundred times larger than the others leaves them few of the 255 steps."""
    model = fresh(tiny_encoder)
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.attention.output.LayerNorm.weight[3] = 100.0
            layer.intermediate.dense.weight[:, 3] /= 100.0
    errors = []
    for name, rows in (("even", ROWS), ("plain", [])):
        (tmp_path / name).mkdir()
        export_encoder(model, tmp_path / name, tiny_encoder / "tokenizer.json", rows)
        encoder, exact = Encoder.load(tmp_path / name), import_encoder(tmp_path / name)[0]
        others = np.arange(32) != 3
        errors.append(
            sum(np.abs(encoder.states(*row) - torch_states(exact, *row))[:, others].mean() for row in some_rows())
        )
    assert errors[0] < errors[1] / 2


def test_sizes_of_channels_equal_the_slow_twin(tiny_encoder: Path) -> None:
    model = fresh(tiny_encoder).train()
    inputs: list[list[float]] = []  # of the last layer's last product
    layer = model.encoder.layer[1].output.dense
    hook = layer.register_forward_pre_hook(lambda _, given: inputs.extend(given[0][0].tolist()))
    for ids, types in ROWS:
        torch_states(model, np.array(ids), np.array(types))
    hook.remove()
    weights = layer.weight.tolist()
    largest = [(max(abs(x[c]) for x in inputs), max(abs(w[c]) for w in weights)) for c in range(64)]
    slow = [x**0.7 / w**0.3 for x, w in largest]
    middle = sorted(slow)[31]
    model.train()
    sizes = channel_sizes(model, ROWS)
    assert set(sizes) == {f"layer.{n}.{name}" for n in range(2) for name in ("wide", "narrow")}
    assert sizes["layer.1.narrow"].tolist() == pytest.approx([size / middle for size in slow], rel=1e-4)
    assert model.training and all((size == 1).all() for size in channel_sizes(model, []).values())


def test_types_count_and_are_0_where_none_are_given(encoder: Encoder) -> None:
    ids = np.array([0, 9, 8, 7, 2])
    plain = encoder.states(ids)
    assert (plain == encoder.states(ids, np.zeros(5, dtype=np.int32))).all()
    assert (plain != encoder.states(ids, np.array([0, 0, 1, 0, 0], dtype=np.int32))).any()


def test_what_is_too_long_is_cut(encoder: Encoder) -> None:
    ids = np.arange(300) % 200
    assert (
        encoder.states(ids, np.ones(300, dtype=np.int32)) == encoder.states(ids[:256], np.ones(256, dtype=np.int32))
    ).all()


# --- rows and threads -----------------------------------------------------------------------------------------


def test_a_row_does_not_depend_on_others_or_on_threads(encoder: Encoder) -> None:
    rows = some_rows(30)
    alone = [encoder.states(*row) for row in rows]

    def all_rows(_: int) -> list[np.ndarray]:
        return encoder.map(lambda row: encoder.states(*row), rows)

    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(all_rows, range(4)):
            assert [states.tobytes() for states in together] == [states.tobytes() for states in alone]
    assert encoder.map(str, []) == [] and encoder.map(str, [1]) == ["1"]


# --- files ----------------------------------------------------------------------------------------------------


def test_an_export_taken_back_is_exported_to_the_same(exported: Path, tmp_path: Path) -> None:
    folders = [exported, tmp_path / "b", tmp_path / "c"]
    for source, target in zip(folders, folders[1:], strict=False):
        target.mkdir()
        export_encoder(import_encoder(source)[0], target, source / "tokenizer.json", ROWS)
    for name in (*FILES[:2], "config.json"):
        assert (folders[1] / name).read_bytes() == (folders[2] / name).read_bytes(), name
    # Channels are looked at anew each time, so that weights are rounded a little otherwise: by half a step at most each time.
    first, second = (import_encoder(folder)[0].state_dict() for folder in folders[1:])
    for name, weights in first.items():
        step = weights.abs().max() / 127 if weights.dim() == 2 else 1e-6
        assert (weights - second[name]).abs().max() <= step, name


def test_heads_come_back_as_they_were(tiny_encoder: Path, tmp_path: Path) -> None:
    heads = {"span.weight": torch.randn(2, 32), "span.bias": torch.randn(2)}
    export_encoder(fresh(tiny_encoder), tmp_path, tiny_encoder / "tokenizer.json", ROWS, heads)
    _, stored = import_encoder(tmp_path)
    assert stored.keys() == heads.keys() and all(torch.equal(stored[name], heads[name]) for name in heads)
    assert Encoder.load(tmp_path).states(np.array([0, 2])).shape == (2, 32)


def _without(path: Path, name: str) -> None:
    weights = load_file(path)
    save_file({key: values for key, values in weights.items() if key != name}, path)


def _narrowed(path: Path, name: str) -> None:
    weights = load_file(path)
    weights[name] = np.ascontiguousarray(weights[name][..., :16])
    save_file(weights, path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    **{f"no {name}": lambda folder, name=name: (folder / name).unlink() for name in FILES},
    **{
        f"half of {name}": lambda folder, name=name: (folder / name).write_bytes(
            (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
        )
        for name in FILES
    },
    **{f"{name} is text": lambda folder, name=name: (folder / name).write_text("{}") for name in FILES},
    "no weight of a layer": lambda folder: _without(folder / FILES[2], "layer.1.wide.weight"),
    "no scales": lambda folder: _without(folder / FILES[2], "layer.1.wide.scale"),
    "no bias": lambda folder: _without(folder / FILES[2], "layer.0.query.bias"),
    "no sizes": lambda folder: _without(folder / FILES[2], "layer.1.wide.shrink"),
    "no words": lambda folder: _without(folder / FILES[2], "embeddings.word.codes"),
    "no positions": lambda folder: _without(folder / FILES[2], "embeddings.position"),
    "narrow layer": lambda folder: _narrowed(folder / FILES[2], "layer.0.query.bias"),
    "narrow positions": lambda folder: _narrowed(folder / FILES[2], "embeddings.position"),
    "narrow types": lambda folder: _narrowed(folder / FILES[2], "embeddings.type"),
    "no <s>": lambda folder: (folder / FILES[1]).write_text((folder / FILES[1]).read_text().replace('"<s>"', '"<t>"')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_said_to_be(damage: str, exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "e")
    DAMAGES[damage](folder)
    with pytest.raises(CorruptArtifactError, match=str(folder)) as stopped:
        Encoder.load(folder)
    assert stopped.value.exit_code == 4


# --- without torch --------------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import json, sys
import numpy as np
from pathlib import Path
import kofid
from kofid.encoder.session import Encoder
encoder, reader, index, question = sys.argv[1:]
states = Encoder.load(Path(encoder)).states(np.array([0, 5, 2]))
pipeline = kofid.open(index, reader=reader)
reply = pipeline.ask(question)
heavy = [name for name in ("torch", "transformers", "onnx", "datasets", "lightgbm") if name in sys.modules]
print(json.dumps([list(states.shape), pipeline.k, len(reply.answers), heavy]))
"""


def test_reading_needs_no_torch(tiny_joint: Path, demo_index: Index) -> None:
    encoder = open_artifact(tiny_joint, "reader").directory
    arguments = [encoder, tiny_joint, demo_index.artifact.directory.parent, ASKED]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    shape, k, n_answers, heavy = json.loads(done.stdout)
    assert (shape, k, heavy) == ([3, 32], 20, []) and 1 <= n_answers <= 5
