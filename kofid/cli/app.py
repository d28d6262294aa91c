"""The ``kofid`` command: finds the subcommand, turns errors into messages and exit codes."""

from __future__ import annotations

import errno
import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from kofid import __version__
from kofid.cli import console
from kofid.errors import InputError, KofidError, ResourceError
from kofid.language import say, set_language, write_settings_as

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
# Packages that come with an extra of kofid, under the name that is imported.
EXTRAS = {"faiss": "cpu", "matplotlib": "plot", "peft": "lora"}

# Options of every command, which also stand before it.
Quiet = Annotated[bool, typer.Option("--quiet", "-q", hidden=True)]
Lang = Annotated[Literal["ko", "en"] | None, typer.Option("--lang", hidden=True)]


# --- commands ------------------------------------------------------------------------------------------------


class CommandGroup(TyperGroup):
    """Imports a subcommand's module only when it is run, listed or completed."""

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
            cmd_name,
            cls=Subcommand,
            help=module.HELP,
            epilog=_example(module.EXAMPLE),
            no_args_is_help=module.NEEDS_ARGUMENTS,
        )(_also_quiet(module.run))
        command: Any = typer.main.get_command(app)
        for parameter in command.params:
            parameter.show_envvar = False  # every option has one; the documentation says so once
            parameter.envvar = None if parameter.hidden else _variable(cmd_name, _longest_flag(parameter))
        return command


class Subcommand(TyperCommand):
    """A subcommand: while it runs, messages write settings as its options."""

    def invoke(self, ctx: Any) -> Any:
        """Run it, after a word on variables of the environment that it does not know."""
        if ctx.params.get("quiet"):
            console.set_quiet(True)
        known = {parameter.envvar for parameter in self.params}
        for variable in sorted(set(os.environ) - known):
            if variable.startswith(_variable(str(ctx.info_name), "")):
                console.note(
                    say(f"{variable}: 그런 선택지가 없어 무시합니다", f"{variable}: there is no such option; ignored")
                )
        write_settings_as(lambda name, value: _as_option(self.params, name, value))
        try:
            return super().invoke(ctx)
        finally:
            write_settings_as(None)


def _also_quiet(run: Callable[..., None]) -> Callable[..., None]:
    """Return the command ``run`` that also takes ``--quiet`` and ``--lang``, which are seen to before it runs."""

    def command(quiet: bool = False, lang: str | None = None, **values: Any) -> None:
        run(**values)

    signature = inspect.signature(run, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in signature.parameters.values()]
    both = [
        inspect.Parameter("quiet", keyword, default=False, annotation=Quiet),
        inspect.Parameter("lang", keyword, default=None, annotation=Lang),
    ]
    command.__doc__ = run.__doc__
    command.__signature__ = inspect.Signature([*parameters, *both])  # type: ignore[attr-defined]
    return command


def _longest_flag(parameter: Any) -> str:
    return str(max(parameter.opts, key=len))


def _variable(command: str, flag: str) -> str:
    """Return the environment's name for an option of a command."""
    return f"KOFID_{command}_{flag.lstrip('-')}".replace("-", "_").upper()


def _as_option(parameters: Sequence[Any], name: str, value: object) -> str:
    """Return a setting as it is written on the command line: the longest flag of that parameter, and the value."""
    parameter = next((p for p in parameters if p.name == name), None)
    if parameter is not None and parameter.param_type_name == "argument":
        return str(name.upper() if value is None else value)
    flag = _longest_flag(parameter) if parameter is not None else "--" + name.replace("_", "-")
    if value is False and parameter is not None and parameter.secondary_opts:
        flag = max(parameter.secondary_opts, key=len)
    return flag if value is None or isinstance(value, bool) else f"{flag} {value}"


def _example(lines: str) -> str:
    """Return a command's worked example, kept as it is by the help formatter."""
    return "\b\n" + say("보기:", "Example:") + "\n" + "\n".join(f"  {line}" for line in lines.strip().splitlines())


def _configure(context: Any, path: str | None) -> None:
    """Take defaults from a TOML file with a table for each command; flags and KOFID_* variables go before it."""
    if path is None:
        return
    import tomllib

    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(
            say(f"{path}: 보통 파일이 아닙니다", f"{path}: not a regular file")
        )  # a pipe would wait for ever
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:
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
    options = {
        _longest_flag(parameter).lstrip("-"): parameter.name for parameter in command.params if not parameter.hidden
    }
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


# --- the whole -----------------------------------------------------------------------------------------------


def build_app() -> Any:
    """Return the command group, its help in the language chosen so far."""
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=say(
            "한국어 열린 질의응답: 글더미를 색인하고, 묻고, 근거와 함께 답을 받습니다.",
            "Korean open-domain question answering: index a heap of text, ask, be answered with evidence.",
        ),
        epilog=_example('kofid ask --demo "한산도 대첩은 언제 일어났나?"'),
    )
    app.callback()(_options)
    group: Any = typer.main.get_command(app)
    helps = {
        "version": say("판을 보입니다", "Show version"),
        "lang": say("말과 도움말의 언어", "Language of messages"),
        "quiet": say("진행 막대와 알림을 보이지 않습니다", "No progress bars, no notes"),
        "config": say("명령별 기본값 파일", "Defaults for each command"),
        "install_completion": say("지금 셸에 자동 완성을 설치합니다", "Install completion for this shell"),
        "show_completion": say("자동 완성 스크립트를 보입니다", "Show the completion script"),
    }
    for parameter in group.params:
        parameter.help = helps[parameter.name]
    return group


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kofid {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
    lang: Annotated[Literal["ko", "en"], typer.Option()] = "ko",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", envvar="KOFID_QUIET", show_envvar=False)] = False,
    config: Annotated[str | None, typer.Option(metavar="FILE.toml", envvar="KOFID_CONFIG", show_envvar=False)] = None,
) -> None:
    console.set_quiet(quiet)
    console.calm_libraries()
    _configure(context, config)


def _choose_language(arguments: Sequence[str]) -> None:
    """Take ``--lang`` wherever it stands, before any help text is made."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, _, value = argument.partition("=")
        if name == "--":
            return
        if name == "--lang" and (value or following) in ("ko", "en"):
            set_language(value or following)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    console.prepare_streams()
    _choose_language(sys.argv[1:])
    sys.exit(_flushed(_run()))


def _run() -> int:
    """Run the command line and return its exit code."""
    try:
        return _call(build_app())
    except SystemExit as end:
        return int(end.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            console.discard(sys.stdout)  # who read our output has enough, as head does
            return 0
        message, code = _explain(error)
        if code == KofidError.exit_code and os.environ.get("KOFID_DEBUG"):
            raise
        return _fail(message, code)


def _call(group: Any) -> int:
    """Run the group; of what Typer raises, make its message and its exit code."""
    if "_KOFID_COMPLETE" in os.environ:
        group.main(prog_name="kofid")  # a shell asks for completions
    try:
        with group.make_context("kofid", sys.argv[1:]) as context:
            group.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        page = io.StringIO()
        show: Any = getattr(error, "show", None)  # usage, a hint and the error, or the help
        show(file=page)
        console.tell(page.getvalue().rstrip("\n"))
        return int(error.exit_code)
    return 0


def _flushed(code: int) -> int:
    """Return the exit code, another where the rest of the output cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        console.discard(sys.stdout)
        if error.errno != errno.EPIPE:
            code = code or _fail(f"{type(error).__name__}: {error}", ResourceError.exit_code)
    try:
        sys.stderr.flush()
    except OSError:
        console.discard(sys.stderr)
    return code


def _fail(message: str, code: int) -> int:
    console.tell(say("오류: ", "error: ") + message, red=True)
    return code


def _explain(error: BaseException) -> tuple[str, int]:
    """Return what to say of an error, and the exit code."""
    if isinstance(error, KofidError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return say("멈추었습니다.", "interrupted."), INTERRUPTED
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError) and error.name and not error.name.startswith("kofid"):
        package = error.name.split(".")[0]
        wanted = f"'kofid[{EXTRAS[package]}]'" if package in EXTRAS else package
        korean = f"꾸러미 {package}이(가) 없거나 깨졌습니다 ({error}). 설치하려면: pip install {wanted}"
        english = f"the package {package} is missing or broken ({error}); to install it: pip install {wanted}"
        return say(korean, english), ResourceError.exit_code
    if isinstance(error, OSError | MemoryError):
        return text, ResourceError.exit_code
    hint = say(
        "kofid의 잘못입니다. KOFID_DEBUG=1 을 붙여 다시 하면 자세히 보입니다",
        "this is a fault of kofid; run again with KOFID_DEBUG=1 for details",
    )
    return f"{text} ({hint})", KofidError.exit_code
