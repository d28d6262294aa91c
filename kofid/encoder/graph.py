"""The encoder as an ONNX graph without weights, from word vectors to states: made once, when a model is written.

Products are in 8-bit integers (``DynamicQuantizeMatMul``: weights rounded once, a scale for each output; inputs each time, one
scale a row of pieces), all else in 32 bits. A few channels of the feed-forward layers' inputs are a hundred times larger than
the rest, which would leave the rest few steps; each channel is divided by its usual size first, and the weights multiplied by
it (Xiao et al. 2023, "SmoothQuant", section 4). Weights have a name and a shape in the graph, and are given to it when it is opened (see
``kofid.encoder.session``), so that the graph is small and the weights can be stored as they like. Operators without domain are
of ONNX, the rest of ONNX Runtime ("com.microsoft").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

# Versions of the two sets of operators, and of the file format, that are old enough for many ONNX Runtimes.
_OPSETS = {"": 18, "com.microsoft": 1}
_IR_VERSION = 10
# Where the graph says that its weights are; there is no such file.
WEIGHTS = "weights"


@dataclass(frozen=True)
class EncoderSizes:
    """The sizes of a BERT encoder (Devlin et al. 2019) that its graph needs."""

    hidden: int
    inner: int
    n_layers: int
    n_heads: int
    epsilon: float = 1e-12


@dataclass
class _Graph:
    """Nodes and weights, gathered one by one."""

    int8: bool
    nodes: list[NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)

    def add(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def weight(self, name: str, shape: Sequence[int], kind: str = "FLOAT") -> str:
        """Declare a weight, and return its name."""
        from onnx import TensorProto

        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.DataType.Value(kind))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=WEIGHTS)
        self.weights.append(tensor)
        return name

    def linear(self, x: str, name: str, n_in: int, n_out: int, *, smooth: bool = False) -> str:
        """Add x W + b, (.., n_in) to (.., n_out); with ``smooth`` each channel of x is first made as large as the others."""
        bias = self.weight(f"{name}.bias", [n_out])
        if not self.int8:
            product = self.add("MatMul", [x, self.weight(f"{name}.weight", [n_in, n_out])], f"{name}.product")
            return self.add("Add", [product, bias], name)
        if smooth:
            x = self.add("Mul", [x, self.weight(f"{name}.shrink", [n_in])], f"{name}.even")
        weight = self.weight(f"{name}.weight", [n_in, n_out], "INT8")
        scale = self.weight(f"{name}.scale", [n_out])
        return self.add("DynamicQuantizeMatMul", [x, weight, scale, "", bias], name, "com.microsoft")

    def norm(self, x: str, residual: str, name: str, sizes: EncoderSizes) -> str:
        """Add LayerNorm(x + residual), (.., hidden)."""
        weights = [self.weight(f"{name}.{part}", [sizes.hidden]) for part in ("weight", "bias")]
        return self.add("SkipLayerNormalization", [x, residual, *weights], name, "com.microsoft", epsilon=sizes.epsilon)


def encoder_graph(sizes: EncoderSizes, *, int8: bool = True) -> bytes:
    """Return the graph, serialised: ``embeddings`` (1, n, hidden), float32, to ``states`` of the same shape.

    ``embeddings`` are the sums of word, position and type vectors, not normalised. Without ``int8`` all is in 32 bits.
    """
    from onnx import TensorProto, helper

    graph = _Graph(int8)
    hidden, inner = sizes.hidden, sizes.inner
    weights = [graph.weight(f"embeddings.norm.{part}", [hidden]) for part in ("weight", "bias")]
    x = graph.add("LayerNormalization", ["embeddings", *weights], "embeddings.norm", axis=-1, epsilon=sizes.epsilon)
    for number in range(sizes.n_layers):
        layer = f"layer.{number}"
        query, key, value = (graph.linear(x, f"{layer}.{name}", hidden, hidden) for name in ("query", "key", "value"))
        mixed = graph.add(
            "MultiHeadAttention", [query, key, value], f"{layer}.mixed", "com.microsoft", num_heads=sizes.n_heads
        )
        attended = graph.linear(mixed, f"{layer}.attended", hidden, hidden)
        x = graph.norm(attended, x, f"{layer}.attended.norm", sizes)
        wide = graph.linear(x, f"{layer}.wide", hidden, inner, smooth=True)
        active = graph.add("Gelu", [wide], f"{layer}.active", "com.microsoft")
        x = graph.norm(
            graph.linear(active, f"{layer}.narrow", inner, hidden, smooth=True), x, f"{layer}.narrow.norm", sizes
        )
    graph.add("Identity", [x], "states")
    shape: list[str | int] = [1, "n", hidden]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("embeddings", "states")]
    whole = helper.make_graph(graph.nodes, "encoder", ends[:1], ends[1:], graph.weights)
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
    return bytes(helper.make_model(whole, opset_imports=opsets, ir_version=_IR_VERSION).SerializeToString())
