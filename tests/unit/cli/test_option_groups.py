"""A command that takes dataclasses has their fields as options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from kofid.cli.options.groups import Options, takes_groups

Depth = Annotated[int, typer.Option("--depth", "-d", min=1, help="how deep")]


@dataclass(frozen=True)
class Searching:
    depth: Depth = 200
    mode: Annotated[str, typer.Option()] = "auto"
    hidden: int = 7


@dataclass(frozen=True)
class LibraryOptions:
    rate: float = 0.5
    seed: int = 1
    internal: str = "kept"


LIBRARY = Options(rate=Annotated[float, typer.Option("--lr")], seed=Annotated[int, typer.Option()])
RATHER = LibraryOptions(rate=0.25, internal="own")


def call(run: Callable[..., None], *arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(takes_groups(run))
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result


def test_fields_are_options_and_come_back_as_dataclasses():
    taken: list[Any] = []

    def run(
        data: Annotated[list[str], typer.Argument()],
        searching: Searching,
        library: Annotated[LibraryOptions, LIBRARY] = RATHER,
        json: Annotated[bool, typer.Option("--json")] = False,
    ) -> None:
        taken.append((data, searching, library, json))

    call(run, "a", "b", "--lr", "2", "-d", "3", "--json")
    call(run, "a")
    assert taken == [
        (["a", "b"], Searching(depth=3), LibraryOptions(2.0, 1, "own"), True),
        (["a"], Searching(), RATHER, False),
    ]


def test_parameters_stand_in_the_order_of_the_signature_with_the_commands_defaults():
    def run(
        context: typer.Context,
        searching: Searching,
        library: Annotated[LibraryOptions, LIBRARY] = RATHER,
        last: Annotated[int, typer.Option()] = 0,
    ) -> None:
        pass

    app = typer.Typer(add_completion=False)
    app.command()(takes_groups(run))
    command: Any = typer.main.get_command(app)
    own = {p.name: p.default for p in command.params}
    assert own == {"depth": 200, "mode": "auto", "rate": 0.25, "seed": 1, "last": 0}
    assert list(own) == ["depth", "mode", "rate", "seed", "last"]
    assert [p.opts for p in command.params[:3]] == [["--depth", "-d"], ["--mode"], ["--lr"]]


def test_two_groups_with_one_name_are_refused():
    def run(
        first: Annotated[LibraryOptions, LIBRARY], second: Annotated[LibraryOptions, Options(seed=Annotated[int, 0])]
    ) -> None:
        pass

    with pytest.raises(ValueError, match="duplicate parameter name: 'seed'"):
        takes_groups(run)


def test_an_option_that_is_no_field_is_refused():
    def run(library: Annotated[LibraryOptions, Options(depth=Depth)]) -> None:
        pass

    with pytest.raises(ValueError, match="LibraryOptions has no depth"):
        takes_groups(run)
