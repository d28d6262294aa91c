"""One set-up of the Transformers Trainer for everything that kofid trains."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import KofidError, UsageError
from kofid.language import say

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch import nn

# Called with (step, steps in all, last loss).
OnStep = Callable[[int, int, float], None]
Loss = Callable[["nn.Module", dict[str, Any]], "torch.Tensor"]
Collate = Callable[[list[dict[str, Any]]], dict[str, "torch.Tensor"]]


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is told. ``max_steps`` of -1 means that ``epochs`` counts."""

    epochs: float = 3.0
    max_steps: int = -1
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 1e-4
    optimizer: str = "adamw"
    warmup: float = 0.06
    weight_decay: float = 0.01
    save_steps: int = 500
    seed: int = 1
    bf16: bool = False
    device: str = "auto"


def train(
    model: nn.Module,
    dataset: Dataset,
    collate: Collate,
    loss: Loss,
    options: TrainOptions,
    checkpoints: Path,
    *,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``model`` in place and return the last loss and the number of steps.

    AdamW, or Adafactor with steps scaled by each weight's size; linear decay after warm-up, gradients clipped at 1.
    Checkpoints go to ``checkpoints`` and are removed when all is done; ``resume`` goes on from the last one. A loss that
    is not finite stops the run, checkpoints kept.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback

    from kofid.devices import choose_device, seed_everything

    last = last_checkpoint(checkpoints)
    if last is not None and not resume:
        raise UsageError(
            say(
                f"{checkpoints}에 끝나지 않은 훈련이 있습니다. 이어서 하려면 --resume, 처음부터 하려면 그 디렉터리를 지우세요.",
                f"{checkpoints} holds an unfinished run; go on with --resume, or remove it to start afresh",
            )
        )
    device = choose_device(options.device)
    seed_everything(options.seed)

    class Watch(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs: dict[str, float] = kwargs["logs"]
            value = logs.get("loss", 0.0)
            if not math.isfinite(value):
                raise KofidError(
                    say(
                        f"{state.global_step}번째 걸음에서 손실이 {value}입니다. 학습률을 낮추세요. 마지막 검사점: {checkpoints}",
                        f"the loss is {value} at step {state.global_step}; lower the learning rate. "
                        f"Last checkpoint: {checkpoints}",
                    )
                )
            if on_step is not None and "loss" in logs:
                on_step(state.global_step, state.max_steps, value)

    class LossTrainer(Trainer):
        def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> torch.Tensor:
            return loss(model, inputs)

    trainer = LossTrainer(
        model=model,
        args=_arguments(options, checkpoints, device.type),
        train_dataset=dataset,
        data_collator=collate,
        callbacks=[Watch()],
        optimizers=(_optimizer(model, options), None),
    )
    # The Trainer prints its logs; kofid's commands show progress themselves.
    trainer.remove_callback(PrinterCallback)
    result = trainer.train(resume_from_checkpoint=last and str(last))
    model.to("cpu")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return {"steps": result.global_step, "loss": round(result.training_loss, 4)}


def _arguments(options: TrainOptions, checkpoints: Path, device: str) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.learning_rate,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        save_steps=options.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=options.seed,
        bf16=options.bf16,
        use_cpu=device == "cpu",
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _optimizer(model: nn.Module, options: TrainOptions) -> Any:
    """Return Adafactor where it is asked for; None leaves AdamW to the Trainer.

    Adafactor's steps are a share of each weight's own size (Shazeer and Stern 2018, section 8), which an untrained T5
    needs: its embeddings start a hundred times larger than its queries, and no one step size of AdamW suits both.
    """
    from transformers.optimization import Adafactor

    if options.optimizer == "adamw":
        return None
    return Adafactor(model.parameters(), lr=options.learning_rate, scale_parameter=True, relative_step=False)


def last_checkpoint(checkpoints: Path) -> Path | None:
    """Return the last whole checkpoint; one cut off while it was saved lacks the state, which is written last."""
    found = {int(path.name.partition("-")[2]): path for path in checkpoints.glob("checkpoint-*")}
    for _, path in sorted(found.items(), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text())
            return path
        except (OSError, ValueError):
            continue
    return None


def settings(options: TrainOptions, **more: Any) -> dict[str, Any]:
    """Return what an artifact keeps of the run that made it: options and versions."""
    from importlib.metadata import version

    versions = {name: version(name) for name in ("torch", "transformers")}
    return {"training": asdict(options), "versions": versions, **more}
