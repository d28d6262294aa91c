"""Products in 8-bit integers: a fourth of the memory of 32 bits, twice the speed of 16 where the processor multiplies bytes.

Weights are rounded once, a scale for each output; inputs each time, a scale for each row (Dettmers et al. 2022,
"LLM.int8()", section 2.1, vector-wise). An answer may change where two tokens are nearly as likely.
"""

from __future__ import annotations

import torch
from torch import nn

from kofid.errors import InputError
from kofid.language import say
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


def use_int8(model: FusionReader, *, encoder: bool = True) -> None:
    """Give a reader 8-bit products, for reading only; the decoder's alone without ``encoder``. Raises InputError.

    Cross-attention's keys and values stay as they are: absorbed, they are no products with the states.
    """
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        raise InputError(
            say(
                "8비트 정수 읽기는 oneDNN이 있는 CPU에서만 됩니다: --device cpu, 아니면 --int8을 빼세요",
                "reading in 8-bit integers needs a CPU with oneDNN: --device cpu, or leave out --int8",
            )
        )
    kept = {id(part) for cross in model.decoder.cross_attentions if cross is not None for part in (cross.k, cross.v)}
    halves = (model.encoder, model.decoder) if encoder else (model.decoder,)
    # A list of the layers themselves would keep all of them in memory to the end.
    for module in [module for half in halves for module in half.modules() if not isinstance(module, nn.Linear)]:
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and id(child) not in kept:
                setattr(module, name, Int8Linear(child.weight, child.bias))
    if model.lm_head is None:
        tokens = model.wte if model.decoder_config else model.shared
        model.output = Int8Linear(tokens.weight)
    else:
        model.output = Int8Linear(model.lm_head.weight)
