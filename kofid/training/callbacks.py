"""The Transformers Trainer as kofid uses it, and what it calls as a run goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback

from kofid.errors import KofidError
from kofid.language import say
from kofid.reader.fid.batch import IGNORED
from kofid.training.resume import AVERAGE, last_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

Loss = Callable[["nn.Module", dict[str, Any]], "torch.Tensor"]
Dev = Callable[[], dict[str, float]]


class LossTrainer(Trainer):
    """Trains by a loss function; evaluates by another, with averaged weights where there are any.

    Where a batch has ``labels`` its loss is a mean over their tokens, and counts by its share of the tokens of the whole
    step: all batches accumulated, of all processes. So two processes, or two batches accumulated, give the gradient of
    one batch of both, whatever the lengths of the answers. Without labels, batches count alike. A loss that does not call
    the model that it is given, as an encoder's, leaves gradients apart: they are averaged over the processes here.
    """

    control: Any

    def __init__(
        self, loss: Loss, dev: Dev | None, average: Average | None, *, by_itself: bool = False, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._by_itself = by_itself
        self._loss, self._dev, self._average = loss, dev, average
        self.model_accepts_loss_kwargs = True  # then it counts the labels of a step

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
        if self._by_itself and self.args.world_size > 1 and self.accelerator.sync_gradients:
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
        """Write the weights, and those averaged beside them: before the trainer's state, which ends a checkpoint."""
        super().save_model(output_dir, _internal_call)
        if self._average and self.args.should_save:
            save_file(self._average.weights, str(Path(output_dir or self.args.output_dir) / AVERAGE))


class Watch(TrainerCallback):
    """Passes each step's loss on; stops the run, before anything is saved, where loss or gradient is not finite."""

    def __init__(self, checkpoints: Path, on_step: Callable[[int, int, float], None] | None) -> None:
        self._checkpoints, self._on_step = checkpoints, on_step

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See the class."""
        logs: dict[str, float] = kwargs["logs"]
        for ko, en, name in (("손실", "loss", "loss"), ("기울기", "gradient", "grad_norm")):
            if not math.isfinite(logs.get(name, 0.0)):
                raise KofidError(self._not_finite(state.global_step, say(ko, en), logs[name]))
        if self._on_step is not None and "loss" in logs:
            self._on_step(state.global_step, state.max_steps, logs["loss"])

    def _not_finite(self, step: int, what: str, value: float) -> str:
        last = last_checkpoint(self._checkpoints)
        good = str(last) if last else say(f"{self._checkpoints}에는 아직 없음", f"none yet in {self._checkpoints}")
        return say(
            f"{step}번째 걸음에서 {what}이(가) {value}입니다. 학습률을 낮추세요. 마지막 성한 검사점: {good}",
            f"the {what} is {value} at step {step}; lower the learning rate. Last good checkpoint: {good}",
        )


class Epochs(TrainerCallback):
    """Tells the number of each epoch, from 0, before its first batch is made."""

    def __init__(self, on_epoch: Callable[[int], None]) -> None:
        self._on_epoch = on_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """See the class."""
        self._on_epoch(int(state.epoch or 0))


class Evaluations(TrainerCallback):
    """Asks for an evaluation every ``every`` steps and at the end, keeps a checkpoint of each, stops when none gets better.

    ``patience``: evaluations without a better one before the run ends (0: never). What came of the earlier ones is in
    the trainer's state, so nothing is lost when a run is interrupted.
    """

    def __init__(self, every: int, patience: int) -> None:
        self._every, self._patience = every, patience

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for an evaluation."""
        if state.global_step % self._every == 0 or state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint; stop where patience is at an end."""
        control.should_save = True
        found = evaluations(state)
        waited = len(found) - 1 - found.index(best_evaluation(state))
        if not waited:
            state.best_global_step = state.global_step  # the Trainer keeps that checkpoint
        if self._patience and waited >= self._patience:
            control.should_training_stop = True


def evaluations(state: Any) -> list[dict[str, float]]:
    """Return what the evaluations of a run came to, in order."""
    return [entry for entry in state.log_history if any(name.startswith("eval_") for name in entry)]


def best_evaluation(state: Any) -> dict[str, float]:
    """Return the best evaluation, by the measures in the order they were given; of equals the first."""
    return max(evaluations(state), key=lambda entry: [v for name, v in entry.items() if name.startswith("eval_")])


class Waiting(TrainerCallback):
    """Lets only the parameters that ``first`` chooses by name train during the first ``n_steps``."""

    def __init__(self, n_steps: int, first: Callable[[str], bool]) -> None:
        self._n_steps, self._first = n_steps, first
        self._others: list[nn.Parameter] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **_: Any) -> None:
        """Remember who waits."""
        self._others = [p for name, p in model.named_parameters() if p.requires_grad and not self._first(name)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Hold the others, or let them go. Without a gradient, the optimizer passes over them."""
        for parameter in self._others:
            parameter.requires_grad_(state.global_step >= self._n_steps)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let the others go."""
        for parameter in self._others:
            parameter.requires_grad_(True)


class Average(TrainerCallback):
    """Keeps an exponential moving average of the weights that train (Polyak averaging).

    After step t it is ``d`` times itself and ``1 - d`` times the weights, d = min(decay, (1 + t) / (10 + t)): the first
    weights, which know nothing, are soon forgotten. ``start``: the checkpoint that a run goes on from.
    """

    def __init__(self, decay: float, start: Path | None) -> None:
        self._decay, self._start = decay, start
        self._own: dict[str, nn.Parameter] = {}
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **_: Any) -> None:
        """Start from the weights, or from what the checkpoint has."""
        self._own = {name: p for name, p in model.named_parameters() if p.requires_grad}
        kept = load_file(str(self._start / AVERAGE)) if self._start else {}
        self.weights = {name: kept.get(name, p.detach()).clone().to(p.device) for name, p in self._own.items()}

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the step's weights in."""
        step = state.global_step + 1
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._own.items():
            self.weights[name].lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the average instead of its weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Change the model's weights and the average about."""
        for name, parameter in self._own.items():
            parameter.data, self.weights[name] = self.weights[name], parameter.data
