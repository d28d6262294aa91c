"""Groups of options: a command takes a frozen dataclass, a person the options that are its fields.

Each option is declared once, whichever commands share it, and each command may have other defaults::

    @dataclass(frozen=True)
    class Searching:                                   # a dataclass of the command line: its fields are options
        mode: Mode = SearchMode.AUTO
        depth: Depth = 200

    TRAINING = Options(epochs=Epochs, seed=Seed)       # options of a dataclass of the library, which knows no flags

    @takes_groups
    def run(data: Data, searching: Searching, training: Annotated[TrainOptions, TRAINING] = RETRIEVER) -> None: ...

The command's parameters are then ``data``, ``mode``, ``depth``, ``epochs`` and ``seed``, in this order; ``run`` gets
the two dataclasses. What ``TRAINING`` does not name is no option and keeps its default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints


class Options:
    """How the fields of a dataclass are written as options: each an ``Annotated`` type with a ``typer.Option``."""

    def __init__(self, **annotations: Any) -> None:
        self.annotations = annotations

    def __or__(self, other: Options) -> Options:
        """Return the options of both; where both have a field, the other's."""
        return Options(**{**self.annotations, **other.annotations})


def takes_groups(run: Callable[..., None]) -> Callable[..., None]:
    """Return the command ``run`` with the fields of its dataclasses as parameters of their own.

    Raises ValueError where two of them have one name, or an option is no field.
    """
    groups: dict[str, _Group] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(run, eval_str=True).parameters.values():
        annotations = _options_of(parameter.annotation)
        if annotations is None:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        else:
            groups[parameter.name] = group = _Group(parameter, annotations)
            parameters += group.parameters()

    def command(**values: Any) -> None:
        dataclasses = {
            name: group.make({field: values.pop(field) for field in group.names}) for name, group in groups.items()
        }
        run(**values, **dataclasses)

    command.__doc__ = run.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


class _Group:
    """A parameter of a command that is a dataclass, and the annotations of those of its fields that are options."""

    def __init__(self, parameter: inspect.Parameter, annotations: dict[str, Any]) -> None:
        self._kind, self._annotations = _dataclass_of(parameter.annotation), annotations
        self._default = None if parameter.default is inspect.Parameter.empty else parameter.default
        unknown = set(annotations) - {field.name for field in fields(self._kind)}
        if unknown:
            raise ValueError(f"{self._kind.__name__} has no {', '.join(sorted(unknown))}")

    @property
    def names(self) -> Iterable[str]:
        """The names of the options."""
        return self._annotations

    def parameters(self) -> list[inspect.Parameter]:
        """Return a parameter for each option, its default the command's own where it has one."""
        defaults = {field.name: _default_of(field) for field in fields(self._kind)}
        if self._default is not None:
            defaults = {name: getattr(self._default, name) for name in defaults}
        return [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=annotation)
            for name, annotation in self._annotations.items()
        ]

    def make(self, values: dict[str, Any]) -> Any:
        """Return the dataclass with the values of its options."""
        return self._kind(**values) if self._default is None else replace(self._default, **values)


def _dataclass_of(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _options_of(annotation: Any) -> dict[str, Any] | None:
    """Return the annotations of a group's options, None for what is no group."""
    kind = _dataclass_of(annotation)
    if not is_dataclass(kind):
        return None
    for mark in get_args(annotation)[1:] if get_origin(annotation) is Annotated else ():
        if isinstance(mark, Options):
            return mark.annotations
    return {
        name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if get_origin(hint) is Annotated
    }


def _default_of(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is MISSING else field.default_factory()
