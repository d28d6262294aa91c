"""One set-up of the Transformers Trainer for everything that kofid trains."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kofid.errors import ResourceError, UsageError
from kofid.language import say, setting
from kofid.storage.ownership import claim_folder, remove_claimed
from kofid.training.checkpoints import STATE, has_ended, last_checkpoint, load_weights
from kofid.training.options import TrainOptions
from kofid.types import OnStep

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch import nn

    from kofid.training.callbacks import WeightAverage
    from kofid.training.hf_trainer import Dev, Loss, LossTrainer

Collate = Callable[[list[dict[str, Any]]], dict[str, "torch.Tensor"]]

# Transformers' names of its own schedules; all of them rise for the share ``warmup`` of the steps first.
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup", "cyclic": "constant"}


def train(
    model: nn.Module,
    dataset: Dataset,
    collate: Collate,
    loss: Loss,
    options: TrainOptions,
    checkpoints: Path,
    *,
    dev: Dev | None = None,
    trains_first: Callable[[str], bool] | None = None,
    on_epoch: Callable[[int], None] | None = None,
    average_gradients: bool = False,
    resume: bool = False,
    keep_checkpoints: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, float]:
    """Train ``model`` in place and return the number of steps, the mean loss and the best of ``dev``.

    AdamW, or Adafactor, its steps scaled by each weight's size; gradients clipped at 1. ``dev`` returns measures,
    the most important first, of the model as it is: the model ends with the weights that had the highest, else with the
    last, averaged where ``options.ema`` says so. ``trains_first`` chooses the parameters, by name, that train alone for
    ``options.warmup_cross`` steps. ``on_epoch`` is told the number of each epoch.

    Checkpoints go to ``checkpoints`` and are removed when all is done, unless ``keep_checkpoints``; ``resume`` goes on from the last
    one. A loss that is not finite stops the run, checkpoints kept. Under ``torchrun`` every process calls this; ``loss``
    must then call the model that it is given, or ``average_gradients`` say that it does not.
    """
    from transformers import PrinterCallback

    from kofid.devices import choose_device, seed_everything
    from kofid.training.callbacks import WeightAverage
    from kofid.training.hf_trainer import LossTrainer

    checkpoints = checkpoints.resolve()
    last = last_checkpoint(checkpoints)
    if last is not None and not resume:
        raise UsageError(
            say(
                f"{checkpoints}에 끝나지 않은 훈련이 있습니다. 이어서 하려면 {setting('resume')}, 처음부터 하려면 그 디렉터리를 지우세요.",
                f"{checkpoints} holds an unfinished run; go on with {setting('resume')}, or remove it to start afresh",
            )
        )
    claim_folder(checkpoints)
    device = choose_device(options.device)
    seed_everything(options.seed)
    average = WeightAverage(options.ema, last) if options.ema else None
    trainer = LossTrainer(
        loss,
        dev,
        average,
        options,
        average_gradients=average_gradients,
        model=model,
        args=_arguments(options, checkpoints, device.type),
        train_dataset=dataset,
        data_collator=collate,
        callbacks=_callbacks(options, checkpoints, average, dev, trains_first, on_epoch, on_step),
        optimizers=(_optimizer(model, options), None),
    )
    # The Trainer prints its logs; kofid's commands show progress themselves.
    trainer.remove_callback(PrinterCallback)
    _fit(trainer, model, checkpoints, last, average)
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # its forward no longer casts to bfloat16
    model.to("cpu")
    trainer.accelerator.wait_for_everyone()  # before the checkpoints go
    if not keep_checkpoints and trainer.is_world_process_zero():
        remove_claimed(checkpoints)
    return _figures(trainer.state)


def _fit(
    trainer: LossTrainer, model: nn.Module, checkpoints: Path, last: Path | None, average: WeightAverage | None
) -> None:
    """Train, unless that was done and only the end of it was lost, and leave ``model`` with the weights to keep."""
    from transformers import TrainerState

    ended = last is not None and has_ended(last)
    if ended:
        trainer.state = TrainerState.load_from_json(str(last / STATE))  # type: ignore[operator]
    else:
        trainer.train(resume_from_checkpoint=last and str(last))
    best = trainer.state.best_global_step
    if best:
        load_weights(model, checkpoints / f"checkpoint-{best}")
    elif ended:
        load_weights(model, last)  # type: ignore[arg-type]
    elif average is not None:
        average.swap()


def _figures(state: Any) -> dict[str, float]:
    from kofid.training.callbacks import best_evaluation, evaluations

    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    figures = {"steps": state.global_step, "loss": round(sum(losses) / max(len(losses), 1), 4)}
    if evaluations(state):
        best = best_evaluation(state)
        figures["best_step"] = best["step"]
        figures |= {f"dev_{name[5:]}": round(value, 5) for name, value in best.items() if name.startswith("eval_")}
    return figures


def _callbacks(
    options: TrainOptions,
    checkpoints: Path,
    average: WeightAverage | None,
    dev: Dev | None,
    trains_first: Callable[[str], bool] | None,
    on_epoch: Callable[[int], None] | None,
    on_step: OnStep | None,
) -> list[Any]:
    from kofid.training.callbacks import EpochStart, LossWatch, RegularEvaluation, WarmupFreeze

    callbacks: list[Any] = [LossWatch(checkpoints, on_step)]
    if on_epoch is not None:
        callbacks.append(EpochStart(on_epoch))
    if average is not None:
        callbacks.append(average)
    if dev is not None:
        callbacks.append(RegularEvaluation(options.eval_steps, options.patience))
    if trains_first is not None and options.warmup_cross:
        callbacks.append(WarmupFreeze(options.warmup_cross, trains_first))
    return [*callbacks, *_reports(options.report, checkpoints)]


def _reports(report: str, checkpoints: Path) -> list[Any]:
    """Return the callback that sends figures to TensorBoard or Weights & Biases; raise ResourceError without the package."""
    if report == "none":
        return []
    if find_spec(report) is None:
        raise ResourceError(
            say(
                f"{setting('report', report)}에는 {report} 패키지가 필요합니다: pip install {report}",
                f"{setting('report', report)} needs the package {report}: pip install {report}",
            )
        )
    from transformers.integrations import TensorBoardCallback, WandbCallback

    if report == "tensorboard":
        callback = TensorBoardCallback()
        # Beside the checkpoints: those are removed in the end.
        callback.logging_dir = callback.logging_dir or str(checkpoints.with_suffix(".tensorboard"))
        return [callback]
    os.environ.setdefault("WANDB_SILENT", "true")  # it would write to standard output
    return [WandbCallback()]


def _arguments(options: TrainOptions, checkpoints: Path, device: str) -> Any:
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.learning_rate,
        lr_scheduler_type=_SCHEDULES[options.schedule],
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        save_steps=options.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=options.seed,
        bf16=options.bf16,
        use_cpu=device == "cpu",
        ddp_find_unused_parameters=options.warmup_cross > 0,  # no process may wait for gradients of what waits
        ddp_backend="gloo" if device == "cpu" and "WORLD_SIZE" in os.environ else None,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process, one GPU; torchrun for more
    return arguments


def _optimizer(model: nn.Module, options: TrainOptions) -> Any:
    """Return Adafactor where it is asked for; None leaves AdamW to the Trainer.

    Adafactor's steps are a share of each weight's own size (Shazeer and Stern 2018, section 8), which an untrained T5
    needs: its embeddings start a hundred times larger than its queries, and no one step size of AdamW suits both.
    """
    from transformers.optimization import Adafactor

    if options.optimizer == "adamw":
        return None
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Adafactor(learned, lr=options.learning_rate, scale_parameter=True, relative_step=False)
