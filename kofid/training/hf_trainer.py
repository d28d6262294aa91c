"""The Transformers Trainer as kofid uses it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from transformers import Trainer

from kofid.reader.fid.batch import IGNORED
from kofid.training.checkpoints import AVERAGE

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kofid.training.callbacks import WeightAverage
    from kofid.training.options import TrainOptions

Loss = Callable[["nn.Module", dict[str, Any]], "torch.Tensor"]
Dev = Callable[[], dict[str, float]]


class LossTrainer(Trainer):
    """Trains by a loss function; evaluates by another, with averaged weights where there are any.

    Where a batch has ``labels`` its loss is a mean over their tokens, and counts by its share of the tokens of the whole
    step: all batches accumulated, of all processes. So two processes, or two batches accumulated, give the gradient of
    one batch of both, whatever the lengths of the answers. Without labels, batches count alike. A loss that does not call
    the model that it is given, as an encoder's, leaves gradients apart: with ``average_gradients`` they are averaged over
    the processes here.
    """

    control: Any
    lr_scheduler: Any

    def __init__(
        self,
        loss: Loss,
        dev: Dev | None,
        average: WeightAverage | None,
        options: TrainOptions,
        *,
        average_gradients: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._average_gradients = average_gradients
        self._loss, self._dev, self._average, self._options = loss, dev, average, options
        self.model_accepts_loss_kwargs = True  # then it counts the labels of a step

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the schedule of the learning rate; the cyclic one is torch's, all others are the Trainer's."""
        if self._options.schedule != "cyclic":
            return super().create_scheduler(num_training_steps, optimizer)
        from torch.optim.lr_scheduler import CyclicLR

        self.lr_scheduler = CyclicLR(
            optimizer or self.optimizer,
            base_lr=self._options.min_learning_rate,
            max_lr=self._options.learning_rate,
            step_size_up=max(1, round(self._options.warmup * num_training_steps)),
            cycle_momentum=False,
        )
        return self.lr_scheduler

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of a batch as it counts in its step."""
        value = self._loss(model, inputs)
        if num_items_in_batch is None:
            return value
        share = (inputs["labels"] != IGNORED).sum() / num_items_in_batch
        counted: torch.Tensor = value * share * self.args.world_size  # gradients are averaged over processes
        return counted

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        """Return the loss of a batch, its gradients computed, those of several processes averaged."""
        value: torch.Tensor = super().training_step(*arguments, **named)
        if self._average_gradients and self.args.world_size > 1 and self.accelerator.sync_gradients:
            from torch import distributed

            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.args.world_size
        return value

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the measures of the dev function, logged."""
        if self._dev is None:
            raise ValueError("nothing to evaluate on")
        with self._average.applied() if self._average else nullcontext():
            metrics = {f"eval_{name}": value for name, value in self._dev().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights, and their average beside them: before the trainer's state, which ends a checkpoint."""
        super().save_model(output_dir, _internal_call)
        if self._average and self.args.should_save:
            save_file(self._average.weights, str(Path(output_dir or self.args.output_dir) / AVERAGE))
