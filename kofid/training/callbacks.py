"""What the trainer calls as a run goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from transformers import TrainerCallback

from kofid.errors import KofidError
from kofid.language import say
from kofid.training.checkpoints import AVERAGE, last_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kofid.types import OnStep


class LossWatch(TrainerCallback):
    """Passes each step's loss on; stops the run, before anything is saved, where loss or gradient is not finite."""

    def __init__(self, checkpoints: Path, on_step: OnStep | None) -> None:
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
        last_good = str(last) if last else say(f"{self._checkpoints}에는 아직 없음", f"none yet in {self._checkpoints}")
        return say(
            f"{step}번째 걸음에서 {what}이(가) {value}입니다. 학습률을 낮추세요. 마지막 성한 검사점: {last_good}",
            f"the {what} is {value} at step {step}; lower the learning rate. Last good checkpoint: {last_good}",
        )


class EpochStart(TrainerCallback):
    """Tells the number of each epoch, from 0, before its first batch is made."""

    def __init__(self, on_epoch: Callable[[int], None]) -> None:
        self._on_epoch = on_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """See the class."""
        self._on_epoch(int(state.epoch or 0))


class RegularEvaluation(TrainerCallback):
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
        results = evaluations(state)
        since_best = len(results) - 1 - results.index(best_evaluation(state))
        if not since_best:
            state.best_global_step = state.global_step  # the Trainer keeps that checkpoint
        if self._patience and since_best >= self._patience:
            control.should_training_stop = True


def evaluations(state: Any) -> list[dict[str, float]]:
    """Return what the evaluations of a run came to, in order."""
    return [entry for entry in state.log_history if any(name.startswith("eval_") for name in entry)]


def best_evaluation(state: Any) -> dict[str, float]:
    """Return the best evaluation, by the measures in the order they were given; of equals the first."""
    return max(evaluations(state), key=lambda entry: [v for name, v in entry.items() if name.startswith("eval_")])


class WarmupFreeze(TrainerCallback):
    """Lets only the parameters that ``trains_first`` chooses by name train during the first ``n_steps``."""

    def __init__(self, n_steps: int, trains_first: Callable[[str], bool]) -> None:
        self._n_steps, self._trains_first = n_steps, trains_first
        self._frozen: list[nn.Parameter] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **_: Any) -> None:
        """Remember the parameters to freeze."""
        self._frozen = [p for name, p in model.named_parameters() if p.requires_grad and not self._trains_first(name)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Freeze them, or let them train: the optimizer passes over what has no gradient."""
        for parameter in self._frozen:
            parameter.requires_grad_(state.global_step >= self._n_steps)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let them train."""
        for parameter in self._frozen:
            parameter.requires_grad_(True)


class WeightAverage(TrainerCallback):
    """Keeps an exponential moving average of the weights that train (Polyak averaging).

    After step t it is ``d`` times itself and ``1 - d`` times the weights, d = min(decay, (1 + t) / (10 + t)): the first
    weights, which know nothing, are soon forgotten. ``start``: the checkpoint that a run goes on from.
    """

    def __init__(self, decay: float, start: Path | None) -> None:
        self._decay, self._start = decay, start
        self._parameters: dict[str, nn.Parameter] = {}
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **_: Any) -> None:
        """Start from the weights, or from what the checkpoint has."""
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        saved = load_file(str(self._start / AVERAGE)) if self._start else {}
        self.weights = {name: saved.get(name, p.detach()).clone().to(p.device) for name, p in self._parameters.items()}

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the step's weights in."""
        step = state.global_step + 1
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
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
        """Exchange the model's weights and the average."""
        for name, parameter in self._parameters.items():
            parameter.data, self.weights[name] = self.weights[name], parameter.data
