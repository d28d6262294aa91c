"""Settings by name, put into the dataclasses that have them; and settings kept beside results, so that no old result stands
under new ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kofid.errors import UsageError
from kofid.language import say, setting
from kofid.storage.files import write_file

# Options that are not called as the settings are.
_OPTION_NAMES = {
    "lr": "learning_rate",
    "negatives": "n_negatives",
    "kv_heads": "n_kv_heads",
    "min_lr": "min_learning_rate",
}
# A name alone switches a setting on.
_TRUTHS: dict[object, bool] = {"": True, "true": True, "false": False, True: True, False: False}


def assign_settings(values: Mapping[str, object], *groups: Any) -> tuple[Any, ...]:
    """Return frozen dataclasses with the ``values`` of their fields; a value may be text.

    A name may have hyphens, as the options of commands do. Raises UsageError for a name that no group has, and for a
    value that does not suit it.

    >>> from kofid.retrieval.fusion import Fusion
    >>> assign_settings({"rrf-k": "10"}, Fusion())[0].rrf_k
    10
    """
    renamed = {_OPTION_NAMES.get(name, name): value for name, value in _underscored(values).items()}
    changed = []
    for group in groups:
        hints = get_type_hints(type(group))
        taken = {field.name: renamed.pop(field.name) for field in fields(group) if field.name in renamed}
        changed.append(replace(group, **{name: _suited(name, value, hints[name]) for name, value in taken.items()}))
    if renamed:
        known = ", ".join(field.name.replace("_", "-") for group in groups for field in fields(group))
        unknown = ", ".join(renamed)
        raise UsageError(
            say(f"모르는 설정입니다: {unknown}. 있는 것: {known}", f"unknown settings: {unknown}; there are: {known}")
        )
    return tuple(changed)


def _underscored(values: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("-", "_"): value for name, value in values.items()}


def _suited(name: str, value: object, hint: Any) -> object:
    """Return a value as the type that a field has; raise UsageError where it cannot be."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        try:
            return _converted(value, kind)
        except (KeyError, TypeError, ValueError):
            continue
    raise UsageError(say(f"{name}: '{value}'은(는) 알맞은 값이 아닙니다", f"{name}: '{value}' does not suit"))


def _converted(value: object, kind: Any) -> object:
    """Return a value as a type; raises KeyError, TypeError or ValueError where it is none."""
    if kind is bool:
        return _TRUTHS[value.lower() if isinstance(value, str) else value]
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if get_origin(kind) is not None or kind is NoneType or isinstance(value, bool):
        raise TypeError
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError
    return kind(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings as one line of JSON, in the order of their names."""
    return json.dumps(settings, ensure_ascii=False, sort_keys=True)


def keep_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Write what the results beside ``file`` come from, unless it stands there."""
    if not file.is_file():
        write_file(file, [settings_text(settings) + "\n"])


def refuse_other_settings(file: Path, settings: Mapping[str, Any], name: str, *, has_results: bool) -> None:
    """Raise UsageError where results were made with other settings than these, or by a version that kept none.

    ``name`` is what the message calls them.
    """
    if not file.is_file() and not has_results:
        return
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    now = json.loads(settings_text(settings))
    changed = [key for key in now if key not in before or before[key] != now[key]]
    if changed:
        differences = ", ".join(f"{setting(key, before.get(key, '?'))} -> {now[key]}" for key in changed[:4])
        raise UsageError(
            say(
                f"{file.parent}: {name}은(는) 다른 설정으로 만든 것입니다 ({differences}). 다른 폴더를 쓰거나 그 폴더를 지우세요.",
                f"{file.parent}: {name} was made with other settings ({differences}); take another folder or remove it",
            )
        )
