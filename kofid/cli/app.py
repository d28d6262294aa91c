"""The ``kofid`` command: finds the subcommand, turns errors into messages and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from kofid import __version__
from kofid.errors import InputError, KofidError, ResourceError
from kofid.language import say, set_language

# In the order in which a user meets them. A command is the module of its name; its HELP is shown here.
COMMANDS = (
    "ask",
    "index",
    "retrieve",
    "rerank",
    "evaluate",
    "compare",
    "convert",
    "analyze",
    "train-retriever",
    "train-reranker",
    "train-reader",
    "distill",
    "ablate",
    "experiment",
    "verify",
    "doctor",
)
INTERRUPTED = 130  # as a shell reports a process that Ctrl-C ended


class CommandGroup(TyperGroup):
    """Imports a subcommand's module only when it is run or listed, and gives every error its exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command called ``cmd_name``, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"kofid.cli.commands.{cmd_name.replace('-', '_')}")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(
            cmd_name, help=module.HELP, epilog=_example(module.EXAMPLE), no_args_is_help=module.NEEDS_ARGUMENTS
        )(module.run)
        command: Any = typer.main.get_command(app)
        for parameter in command.params:
            parameter.show_envvar = False  # every option has one; README says so once
            parameter.envvar = f"KOFID_{cmd_name}_{_setting(parameter)}".replace("-", "_").upper()
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand; end with an exit code where it fails."""
        try:
            return super().invoke(ctx)
        except KofidError as error:
            raise typer.Exit(_fail(str(error), error.exit_code)) from error
        except BrokenPipeError as error:
            # Who read our output has enough (as head does); Python must not complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        except (OSError, MemoryError) as error:
            raise typer.Exit(_fail(f"{type(error).__name__}: {error}", ResourceError.exit_code)) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(_fail(say("멈추었습니다.", "interrupted."), INTERRUPTED)) from error


def _setting(parameter: Any) -> str:
    """Return an option's name in settings: its longest flag without the dashes."""
    return str(max(parameter.opts, key=len)).lstrip("-")


def _example(lines: str) -> str:
    """Return a command's worked example, kept as it is by the help formatter."""
    return "\b\n" + say("보기:", "Example:") + "\n" + "\n".join(f"  {line}" for line in lines.strip().splitlines())


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kofid {__version__}")
        raise typer.Exit


def _configure(context: Any, path: str | None) -> None:
    """Take defaults from a TOML file with a table for each command; flags and KOFID_* variables go before it."""
    if path is None:
        return
    import tomllib

    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise InputError(
            say(f"{path}: 설정을 읽을 수 없습니다 ({error})", f"{path}: settings cannot be read ({error})")
        ) from error
    context.default_map = {name: _command_defaults(context, path, name, table) for name, table in tables.items()}


def _command_defaults(context: Any, path: str, name: str, table: Any) -> dict[str, Any]:
    """Return a command's table with parameter names for option names; raise InputError for what it does not have."""
    command = context.command.get_command(context, name)
    if command is None or not isinstance(table, dict):
        known = ", ".join(COMMANDS)
        raise InputError(
            say(
                f"{path}: '{name}'은(는) 명령의 표가 아닙니다. 명령: {known}",
                f"{path}: '{name}' is not a table of a command; commands: {known}",
            )
        )
    options = {_setting(parameter): parameter.name for parameter in command.params}
    for option in table:
        if option not in options:
            known = ", ".join(options)
            raise InputError(
                say(
                    f"{path}: [{name}]에 '{option}' 선택지는 없습니다. 있는 것: {known}",
                    f"{path}: [{name}] has no option '{option}'; there are: {known}",
                )
            )
    return {options[option]: value for option, value in table.items()}


def build_app() -> typer.Typer:
    """Return the application, its help in the language chosen so far."""
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "KOFID"},
        help=say(
            "한국어 열린 질의응답: 글더미를 색인하고, 묻고, 근거와 함께 답을 받습니다.",
            "Korean open-domain question answering: index a heap of text, ask, be answered with evidence.",
        ),
        epilog=_example('kofid ask --demo "한산도 대첩은 언제 일어났나?"'),
    )

    @app.callback()
    def options(
        context: typer.Context,
        version: Annotated[
            bool,
            typer.Option("--version", callback=_show_version, is_eager=True, help=say("판을 보입니다", "Show version")),
        ] = False,
        lang: Annotated[
            Literal["ko", "en"], typer.Option(help=say("말과 도움말의 언어", "Language of messages"))
        ] = "ko",
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=say("진행 막대를 보이지 않습니다", "No progress bars"))
        ] = False,
        config: Annotated[
            str | None, typer.Option(metavar="FILE.toml", help=say("명령별 기본값 파일", "Defaults for each command"))
        ] = None,
    ) -> None:
        from kofid.cli import console

        console.quiet = quiet
        logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong with a file is said once, by us
        _configure(context, config)

    return app


def main() -> None:
    """Run the command line and end the process with its exit code."""
    arguments = sys.argv[1:]
    if "--lang=en" in arguments or ("--lang", "en") in zip(arguments, arguments[1:], strict=False):
        set_language("en")  # before any help text is made
    sys.exit(_run())


def _run() -> int:
    """Run the command line and return its exit code."""
    try:
        build_app()(prog_name="kofid")
    except SystemExit as end:
        return int(end.code or 0)
    except Exception as error:
        if os.environ.get("KOFID_DEBUG"):
            raise
        hint = say(
            "kofid의 잘못입니다. KOFID_DEBUG=1 을 붙여 다시 하면 자세히 보입니다",
            "this is a fault of kofid; run again with KOFID_DEBUG=1 for details",
        )
        return _fail(f"{type(error).__name__}: {error} ({hint})", 1)
    return 0


def _fail(message: str, code: int) -> int:
    typer.secho(say("오류: ", "error: ") + message, err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
    return code
