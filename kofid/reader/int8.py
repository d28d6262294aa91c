"""Products in 8-bit integers, for a decoder that multiplies one row at a time and waits for memory.

Weights are rounded once, a scale for each output; inputs each time, a scale for each row (dynamic quantisation, Dettmers et
al. 2022, "LLM.int8()", section 2.1, vector-wise). An answer may change where two tokens are nearly as likely.
"""

from __future__ import annotations

import torch
from torch import nn

from kofid.reader.fusion import FusionReader


class Int8Linear(nn.Module):
    """A linear layer without gradient, its weights in 8 bits."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.weight: torch.Tensor
        self.scale: torch.Tensor
        self.bias: torch.Tensor | None
        scale = weight.float().abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("weight", (weight.float() / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.float())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (.., n_out) of ``hidden`` (.., n_in), in its type."""
        rows = hidden.flatten(0, -2).float()
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        product = torch._int_mm((rows / scale).round_().to(torch.int8), self.weight.T)
        result = product * scale * self.scale
        if self.bias is not None:
            result = result + self.bias
        return result.to(hidden.dtype).view(*hidden.shape[:-1], -1)


def use_int8(model: FusionReader) -> None:
    """Give a reader's decoder and output layer 8-bit products, for reading only.

    Keys and values of the encoder's states are many rows at once, and stay as they are.
    """
    kept = {id(part) for cross in model.decoder.cross_attentions if cross is not None for part in (cross.k, cross.v)}
    for module in list(model.decoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and id(child) not in kept:
                setattr(module, name, Int8Linear(child.weight.detach(), child.bias))
    if model.lm_head is None:
        tokens = model.wte if model.decoder_config else model.shared
        weight = tokens.weight.detach()
    else:
        weight = model.lm_head.weight.detach()
    model.output = Int8Linear(weight)
