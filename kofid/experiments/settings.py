"""Settings by name, from a file or a command line, put into the dataclasses that have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kofid.errors import UsageError
from kofid.language import say

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
