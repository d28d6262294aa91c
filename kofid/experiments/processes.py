"""A function called in a process of its own, which ends with this one: for what must be measured alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from kofid.errors import ResourceError
from kofid.language import language, say, set_language

P = ParamSpec("P")
T = TypeVar("T")


def call_alone(function: Callable[P, T], *arguments: P.args, **settings: P.kwargs) -> T:
    """Return what a function returns in a fresh process; what it raises is raised here.

    Function, arguments and result are sent between the processes. Raises ResourceError where the process is killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _begin, (os.getpid(), language())) as executor:
        try:
            return executor.submit(function, *arguments, **settings).result()
        except BrokenProcessPool as error:
            raise ResourceError(
                say(
                    "재는 프로세스가 도중에 죽었습니다 (메모리?). 같은 명령으로 이어 갑니다.",
                    "the process that measures was killed (out of memory?); the same command goes on",
                )
            ) from error


def _begin(parent: int, language_of_parent: str) -> None:
    """Speak as the parent does, and end when it is killed, else the two would work on side by side.

    Only Linux tells of the parent's end (prctl(2), PR_SET_PDEATHSIG).
    """
    set_language(language_of_parent)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that was said
            os._exit(1)
