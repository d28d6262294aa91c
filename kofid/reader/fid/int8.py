"""Products in 8-bit integers: a fourth of the memory of 32 bits, twice the speed of 16 where the processor multiplies bytes.

Weights are rounded once, a scale for each output; inputs each time, a scale for each row (Dettmers et al. 2022,
"LLM.int8()", section 2.1, vector-wise). An answer may change where two tokens are nearly as likely.
"""

from __future__ import annotations

import torch
from torch import nn

from kofid.errors import InputError
from kofid.language import say, setting
from kofid.reader.fid.model import FusionReader

_ROWS = 4_096  # of a weight that are rounded at a time


class Int8Linear(nn.Module):
    """A linear layer without gradient, its weights in 8 bits, on a CPU."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        weight = weight.detach()
        self.scale = torch.maximum(weight.amax(1), -weight.amin(1)).float().clamp_(min=1e-12) / 127
        parts = zip(weight.split(_ROWS), self.scale[:, None].split(_ROWS), strict=True)
        rounded = torch.cat([(part.float() / scale).round_().to(torch.int8) for part, scale in parts])
        self.weight = torch.ops.onednn.qlinear_prepack(rounded, None)
        self.bias = bias
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        # Inputs are bytes around a middle. Processors without byte products add pairs of them in 16 bits, which hold 7.
        self.levels = 126 if torch.cpu._is_vnni_supported() else 62
        self.one, self.middle = torch.tensor(1.0), torch.tensor(self.levels + 2, dtype=torch.int32)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (.., n_out) of ``hidden`` (.., n_in), in its type."""
        rows = hidden.flatten(0, -2)
        scale = rows.abs().amax(1, keepdim=True).clamp_(min=1e-12).div_(self.levels)
        rounded = (rows / scale).round_().add_(self.levels + 2).to(torch.uint8)
        weight = (self.weight, self.scale, self.zeros)
        result = torch.ops.onednn.qlinear_pointwise(
            rounded, self.one, self.middle, *weight, None, 1.0, 0, rows.dtype, "none", [], ""
        ).mul_(scale)
        return (result if self.bias is None else result + self.bias).view(*hidden.shape[:-1], -1)


def quantize(model: FusionReader, *, encoder: bool = True) -> None:
    """Make products of a reader just loaded 8-bit, for reading only; the decoder's alone without ``encoder``. Raises InputError.

    The layers of ``model`` itself are replaced, one at a time, so that the floats of no more than one are kept beside its
    bytes. Cross-attention's keys and values stay in floats: absorbed, they are no products with the states.
    """
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        cpu, int8 = setting("device", "cpu"), setting("int8")
        raise InputError(
            say(
                f"8비트 정수 읽기는 oneDNN이 있는 CPU에서만 됩니다: {cpu}, 아니면 {int8}을(를) 빼세요",
                f"reading in 8-bit integers needs a CPU with oneDNN: {cpu}, or leave out {int8}",
            )
        )
    in_floats = {
        id(part) for cross in model.decoder.cross_attentions if cross is not None for part in (cross.k, cross.v)
    }
    for half in (model.encoder, model.decoder) if encoder else (model.decoder,):
        for module in half.modules():
            for name, layer in module.named_children():
                if isinstance(layer, nn.Linear) and id(layer) not in in_floats:
                    module.register_module(name, Int8Linear(layer.weight, layer.bias))
    output = model.token_embedding if model.lm_head is None else model.lm_head
    model.lm_head = Int8Linear(output.get_parameter("weight"))
