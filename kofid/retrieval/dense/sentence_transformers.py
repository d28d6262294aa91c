"""Folders of encoders as sentence-transformers reads and writes them: a list of modules, a folder of settings for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kofid.errors import InputError
from kofid.language import say

_MODULES = "modules.json"
_PROMPTS = "config_sentence_transformers.json"


def module_types(directory: Path) -> list[str]:
    """Return the names of the classes that sentence-transformers would make of a folder, none where it is not one."""
    try:
        return [module["type"].rpartition(".")[2] for module in json.loads((directory / _MODULES).read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise cannot_open(str(directory), error) from error


def encoder_settings(directory: Path) -> dict[str, Any]:
    """Return pooling, normalization and prompts of a folder of sentence-transformers; nothing for any other."""
    types = module_types(directory)
    if not types:
        return {}
    try:
        paths = {m["type"].rpartition(".")[2]: m["path"] for m in json.loads((directory / _MODULES).read_text())}
        settings: dict[str, Any] = {"normalize": "Normalize" in types}
        if "Pooling" in paths:
            pooling = json.loads((directory / paths["Pooling"] / "config.json").read_text())
            first = pooling.get("pooling_mode") == "cls" or pooling.get("pooling_mode_cls_token", False)
            settings["pooling"] = ("pooler" if "Dense" in types else "cls") if first else "mean"
        if (directory / _PROMPTS).is_file():
            prompts = json.loads((directory / _PROMPTS).read_text()).get("prompts") or {}
            settings["prompts"] = (prompts.get("query", ""), prompts.get("document") or prompts.get("passage") or "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise cannot_open(str(directory), error) from error
    return settings


def pooling_settings(pooling: str, dimension: int) -> dict[str, Any]:
    """Return the settings of sentence-transformers' Pooling."""
    return {
        "word_embedding_dimension": dimension,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }


def save_modules(
    directory: Path, modules: list[tuple[str, str, dict[str, Any]]], *, normalize: bool, prompts: tuple[str, str]
) -> None:
    """Write the list of modules that sentence-transformers reads, and the settings of each."""
    if normalize:
        modules = [*modules, (f"{len(modules)}_Normalize", "models.Normalize", {})]
    listed = []
    for number, (path, kind, settings) in enumerate(modules):
        (directory / path).mkdir(exist_ok=True)
        if path:
            (directory / path / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        listed.append({"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"})
    (directory / _MODULES).write_text(json.dumps(listed, indent=2) + "\n")
    model_settings = {"prompts": dict(zip(("query", "document"), prompts, strict=True)), "similarity_fn_name": "dot"}
    (directory / _PROMPTS).write_text(json.dumps(model_settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save_pooler(model: Any, directory: Path) -> None:
    """Write a model's own dense layer over the first token as sentence-transformers' Dense."""
    from safetensors.torch import save_file

    directory.mkdir(exist_ok=True)
    weights = {f"linear.{name}": weight.contiguous() for name, weight in model.pooler.dense.state_dict().items()}
    save_file(weights, str(directory / "model.safetensors"))


def cannot_open(directory: str, error: Exception) -> InputError:
    """Return the error for a folder that is no encoder."""
    return InputError(
        say(f"인코더 '{directory}'을(를) 열 수 없습니다: {error}", f"encoder '{directory}' cannot be opened: {error}")
    )
