"""Low-rank adapters (Hu et al. 2022, "LoRA"), by peft: on the attention of a fusion reader, all layers of any other model.

A saved model has none: they are merged into its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn

from kofid.errors import ResourceError
from kofid.language import say, setting
from kofid.reader.fid.attention import Attention
from kofid.reader.fid.bert import BertAttention

# What an adapter adds is multiplied by this (alpha / rank in the paper).
_SCALE = 2


class Adapters:
    """Adapters on the projections of all attention; only they train, and whole the parameters that ``whole`` chooses.

    A model that has no attention of ours gets them on all linear layers. Raises ResourceError without peft.
    """

    def __init__(self, model: nn.Module, rank: int, whole: Callable[[str], bool] | None = None) -> None:
        try:
            from peft import LoraConfig
            from peft.tuners.lora import LoraModel
        except ImportError as error:
            lora = setting("lora", rank)
            raise ResourceError(
                say(f"{lora}에는 peft가 필요합니다: pip install peft", f"{lora} needs peft: pip install peft")
            ) from error
        trains_whole = whole or (lambda _: False)
        targets = [
            f"{name}.{part}"
            for name, module in model.named_modules()
            if isinstance(module, Attention | BertAttention) and not trains_whole(f"{name}.")
            for part in module.projections
        ] or [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        config = LoraConfig(r=rank, lora_alpha=_SCALE * rank, lora_dropout=0.0, target_modules=targets)
        self._model = model
        self._tuner: Any = LoraModel(model, config, "default")
        for name, parameter in model.named_parameters():
            if trains_whole(name):
                parameter.requires_grad_(True)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Add the adapters to the weights for a while; then the weights are what they were, to the bit."""
        from peft.tuners.lora import Linear

        layers: list[Any] = [module for module in self._model.modules() if isinstance(module, Linear)]
        weights = [layer.get_base_layer().weight.data for layer in layers]
        for layer, weight in zip(layers, weights, strict=True):
            layer.get_base_layer().weight.data = weight.clone()
            layer.merge()
        try:
            yield
        finally:
            for layer, weight in zip(layers, weights, strict=True):
                layer.unmerge()
                layer.get_base_layer().weight.data = weight

    def merge(self) -> None:
        """Add the adapters to the weights for good: the model has its own layers again, all of them trainable."""
        self._tuner.merge_and_unload()
        self._model.requires_grad_(True)


@contextmanager
def adapted(
    model: nn.Module, rank: int, seed: int, whole: Callable[[str], bool] | None = None
) -> Iterator[Callable[[], AbstractContextManager[Any]]]:
    """Give ``model`` adapters of this rank (0: none) to train, and merge them into it when the block ends without an error.

    Yields a context in which the model can be evaluated: adapters merged for a while.
    """
    from kofid.devices import seed_everything

    if not rank:
        yield nullcontext
        return
    seed_everything(seed)
    adapters = Adapters(model, rank, whole)
    yield adapters.merged
    adapters.merge()
